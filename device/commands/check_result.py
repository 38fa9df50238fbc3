"""What one check of the selftest found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CheckResult:
    name: str
    ok: bool
    found: str
    do: str = ""
    """What to do about it; "" = nothing."""


def good(name: str, found: str) -> CheckResult:
    return CheckResult(name, ok=True, found=found)


def bad(name: str, found: str, *, do: str) -> CheckResult:
    return CheckResult(name, ok=False, found=found, do=do)
