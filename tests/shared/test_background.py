"""Threads with an owner, and how long to wait before a further try."""

from __future__ import annotations

import logging
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.background import Background, within
from shared.backoff import exponential_s


def test_the_owner_ends_it() -> None:
    work = Background(lambda: work.stopping.wait(60), name="w")
    work.start()
    assert work.close()
    assert not work.is_alive
    assert work.close(), "again"


def test_it_may_be_closed_without_a_start() -> None:
    assert Background(lambda: None, name="w").close()


def test_a_failure_is_logged_with_its_traceback_and_the_work_begins_again(caplog: pytest.LogCaptureFixture) -> None:
    tries: list[int] = []
    done = threading.Event()

    def run() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise ZeroDivisionError("once")
        done.set()

    work = Background(run, name="fragile", restart_s=0.0)
    with caplog.at_level(logging.ERROR):
        work.start()
        assert done.wait(60)
        work.close()
    assert [record.getMessage() for record in caplog.records] == ["fragile failed"] * 2
    assert all(record.exc_info for record in caplog.records)


def test_without_a_restart_a_failure_ends_it() -> None:
    tries: list[int] = []

    def run() -> None:
        tries.append(1)
        raise ZeroDivisionError("once")

    work = Background(run, name="once")
    work.start()
    assert work.close()
    assert tries == [1]


@pytest.mark.parametrize("at_once", [True, False])
def test_a_call_that_fails_does_not_end_the_round(at_once: bool) -> None:
    calls: list[int] = []
    enough = threading.Event()

    def call() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise ZeroDivisionError("first")
        if len(calls) == 3:
            enough.set()

    work = Background.every(0.001, call, name="round", at_once=at_once)
    work.start()
    assert enough.wait(10)
    assert work.close()


def test_every_waits_first_unless_told_otherwise() -> None:
    for at_once in (False, True):
        called = threading.Event()
        work = Background.every(60, called.set, name="round", at_once=at_once)
        work.start()
        assert called.wait(10 if at_once else 0.05) == at_once
        assert work.close()


def test_a_call_that_hangs_is_left_behind(caplog: pytest.LogCaptureFixture) -> None:
    release = threading.Event()
    assert not within(0.01, lambda: release.wait(60), name="hangs")
    assert "hangs did not end within 0.01 s" in caplog.text
    release.set()
    assert within(10, lambda: None, name="returns")


def test_waits_double_up_to_their_bound() -> None:
    waits = [exponential_s(failures, base_s=0.5, max_s=30) for failures in range(8)]
    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert exponential_s(10**6, base_s=0.5, max_s=30) == 30
    assert exponential_s(-1, base_s=0.5, max_s=30) == 0.5


@given(st.integers(0, 100), st.floats(0, 1))
def test_jitter_is_a_share_of_the_wait(failures: int, share: float) -> None:
    whole = exponential_s(failures, base_s=0.5, max_s=30)
    assert exponential_s(failures, base_s=0.5, max_s=30, jitter=share) == share * whole
