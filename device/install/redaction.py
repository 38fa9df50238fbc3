"""Take out of texts what names a person, a place, a network or a secret. Pure.

Two nets: what this device is known to call by name (the wearer, the device, networks, hosts, accounts), and the shapes
that such things have anywhere (addresses, keys, codes, positions). Settings are kept by a list of what may be kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

SHORTEST = 2
"""Characters: a name of one letter would be taken out of the middle of everything."""
KEPT_TEXTS = frozenset(
    "capture.source capture.microphone voice.language guidance.cores buttons.pin buttons.repeat_pin".split()
)
"""Settings of free text that name no person; capture.source by its kind alone."""

_HEX, _WORD = "[0-9A-Fa-f]", "[A-Za-z0-9+/_-]"
_QUOTED = r"(?:'[^\n]*?'(?!\w)|\"[^\"\n]*\")"
_SECRET = "psk|passw(?:or)?d|passphrase|pwd|pass(?==)|token|secret|credentials?|(?:api|private)[_-]?key|ssid(?==)"
SHAPES: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (name, re.compile(pattern, re.DOTALL))
    for name, pattern in (
        ("key", r"-----BEGIN [A-Z0-9 ]+-----.*?(?:-----END [A-Z0-9 ]+-----|\Z)"),
        ("code", r"(?i:\bwaycue:enrol\?)\S+|(?i:\bwifi:)[^\n]*?;;"),
        ("words", r"(?:'[^\n]*'|\"[^\n]*\")(?= came too late to be said)"),
        ("url", r"\b[a-z][a-z0-9+.-]*://[^\s'\"<>]+"),
        ("mail", r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+"),
        ("host", r"\b(?:[\w-]+\.)+(?!py\b)[a-z]{2,}(?=:\d{2,5}\b)"),
        ("host", r"\b[\w-]+\.(?:local|lan|home|internal|fritz\.box)\b"),
        ("mac", rf"(?<!{_HEX}){_HEX}{{2}}(?:[:_-]{_HEX}{{2}}){{5}}(?!{_HEX})"),
        ("address", r"(?<![\w.])(?<!==)(?:\d{1,3}\.){3}\d{1,3}(?!\.?\d)\b"),
        ("address", rf"(?<![\w:])(?:{_HEX}{{1,4}}:){{7}}{_HEX}{{1,4}}(?![\w:])|(?<![\w:])::{_HEX}{{1,4}}\b"),
        ("address", rf"(?<![\w:])(?:{_HEX}{{1,4}}:)+:(?:{_HEX}{{1,4}}(?::{_HEX}{{1,4}})*)?(?![\w:])"),
        ("code", r"(?i:\b[0-9A-HJKMNP-TV-Z]{4}(?:-[0-9A-HJKMNP-TV-Z]{4}){2,}\b)"),
        ("position", r"[-+]?\d{1,3}\.\d{4,}\s*[,;/ ]\s*[-+]?\d{1,3}\.\d{4,}"),
        ("hex", rf"\b{_HEX}{{24,}}\b"),
        ("secret", rf"(?<!{_WORD}){_WORD}{{40,}}={{0,2}}(?!{_WORD})"),
        ("name", r"(?<=/home/)[^/\s:'\"]+"),
        ("ssid", rf"(?P<kept>(?i:\bssid)[ :=]+){_QUOTED}"),
        ("secret", rf"(?P<kept>(?i:\b[\w.-]*(?:{_SECRET}))['\"]?\s*[:=]\s*)(?:{_QUOTED}|[^\s,;]+)"),
        ("secret", r"(?P<kept>(?i:\bbearer\s+))\S+"),
    )
)


def redacted(text: str, names: Mapping[str, str]) -> str:
    """names: text → what stands in its place, such as {"anna": "wearer"}. The longest first; whole words, any case."""
    for name in sorted(names, key=len, reverse=True):
        if len(name.strip()) >= SHORTEST:
            text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", f"<{names[name]}>", text, flags=re.IGNORECASE)
    for what, shape in SHAPES:
        kept = r"\g<kept>" if "kept" in shape.groupindex else ""
        text = shape.sub(f"{kept}<{what}>", text)
    return text


def kept_settings(config: object) -> dict[str, dict[str, Any]]:
    """Every setting of a config of dataclasses: numbers, switches and words out of a fixed list as they are, of other
    texts only whether they are set."""
    return {section.name: _kept_section(section.name, getattr(config, section.name)) for section in fields(config)}  # type: ignore[arg-type]


def _kept_section(name: str, section: Any) -> dict[str, Any]:
    hints = get_type_hints(type(section))
    return {key: _kept(f"{name}.{key}", getattr(section, key), hints[key]) for key in hints}


def _kept(dotted: str, value: object, hint: object) -> object:
    if value is None or isinstance(value, bool | int | float) or value in ("", (), [], {}):
        return value
    if get_origin(hint) is Literal and value in get_args(hint):
        return value
    if dotted in KEPT_TEXTS and isinstance(value, str):
        return f"{value.partition(':')[0]}:…" if ":" in value else value
    return f"<set, {len(value)}>" if isinstance(value, str | tuple | list | dict) else "<set>"


def named(pairs: Iterable[tuple[str, str | None]]) -> dict[str, str]:
    """(what, name) pairs → `names` of `redacted`; empty names are left out."""
    return {name.strip(): what for what, name in pairs if name and name.strip()}
