"""What a device says steers no terminal."""

from __future__ import annotations

import io
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import printable
from shared.printable import Guarded, guarded, printable_value, shortened


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Stop, curb ahead.", "Stop, curb ahead."),
        ("größer, 雨, Ω, 🦮, می‌خواهم", "größer, 雨, Ω, 🦮, می‌خواهم"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;a title\x07after", "after"),
        ("\x1b]52;c;cm0gLXJm\x1b\\after", "after"),
        ("\x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bP1$r0m\x1b\\after", "after"),
        ("\x9b2Jgone", "gone"),
        ("\x1b[2", ""),
        ("\x1b", ""),
        ("bell\x07 back\x08space \x00nul \x7fdel", "bell backspace nul del"),
        ("one\ntwo\r\nthree\tfour\u2028five", "one two  three four five"),
        ("a\u202eevil\u2066b\u200f", "aevilb"),
        ("\ud800half", "half"),
    ],
)
def test_what_steers_a_terminal_is_taken_out_and_words_stay(text: str, plain: str) -> None:
    assert printable.printable(text) == plain


@given(st.text(st.characters(codec=None), max_size=40) | st.text("\x1b\x9b[]0;m\\\x07Pa\n", max_size=20))
def test_once_is_enough_and_nothing_is_left(text: str) -> None:
    plain = printable.printable(text)
    assert printable.printable(plain) == plain
    assert not set(plain) & {*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0)), "\u202e", "\u2066"}


def test_every_text_of_a_record_is_made_printable() -> None:
    value = {"a\x1b[1m": ["\x07", {"b": "x\x1b[2Jy"}], "n": 3, "none": None, "yes": True}
    assert printable_value(value) == {"a": ["", {"b": "xy"}], "n": 3, "none": None, "yes": True}


def test_one_long_word_is_cut() -> None:
    assert shortened("w" * 10_000, 100) == "w" * 99 + "…"
    assert shortened("short", 100) == "short"


def test_whatever_prints_is_guarded_and_a_layout_stays() -> None:
    out, before = io.StringIO(), sys.stdout
    sys.stdout = out
    try:
        with guarded():
            print("one\n\ttwo\x1b[31m\x07", end="\n")
            print("\r50 %", "\rspoofed", end="")
            assert isinstance(sys.stdout, Guarded)
            assert printable.beneath(sys.stdout) is out
            assert sys.stdout.isatty() is False
        assert sys.stdout is out
    finally:
        sys.stdout = before
    assert out.getvalue() == "one\n\ttwo\n\r50 %  spoofed"
