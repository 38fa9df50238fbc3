"""docs/learning.md gives the gate's bounds as they are."""

from __future__ import annotations

import dataclasses
import re

from server.gate.settings import GateSettings
from tests.docs.pages import section


def test_every_bound_of_the_gate_is_told_with_its_value() -> None:
    text = section("learning.md", "The gate: promoted, on trial, or refused")
    reported = {name: value for value, name in re.findall(r"-?([\d.]+) \(`(\w+)`\)", text)}
    assert reported == {item.name: str(item.default) for item in dataclasses.fields(GateSettings)}
