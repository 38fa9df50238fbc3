"""A command in a service's sandbox: what of the unit counts, and what its process says is read."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from device.commands import as_service
from device.install import package_data, sandbox

DEVICE = package_data.unit("waycue-device.service")


def test_what_a_process_may_see_and_do_is_taken_over_and_how_it_is_kept_alive_is_not() -> None:
    found = sandbox.service_properties(DEVICE)
    keys = {text.partition("=")[0] for text in found}
    assert {"User=waycue", "ProtectSystem=strict", "SupplementaryGroups=video audio", "ProtectHome=yes"} <= set(found)
    assert {"SystemCallFilter", "MemoryMax", "StateDirectory", "RuntimeDirectory", "Environment"} <= keys
    assert keys.isdisjoint(sandbox.OF_A_DAEMON)
    assert "WorkingDirectory=/run/waycue-device" in found
    assert not [text for text in found if "%" in text.replace("75%", "")]


@pytest.mark.parametrize("name", ["waycue-device.service", "waycue-sentinel.service"])
def test_every_line_of_a_unit_is_either_handed_on_or_known_to_be_of_a_daemon(name: str) -> None:
    text = package_data.unit(name)
    service = text[text.index("[Service]") : text.index("[Install]")]
    lines = [line for line in service.splitlines() if "=" in line and not line.startswith("#")]
    daemon = [line for line in lines if line.partition("=")[0] in sandbox.OF_A_DAEMON]
    assert len(sandbox.service_properties(text)) == len(lines) - len(daemon)


def test_drop_ins_count_and_long_lines_are_one(tmp_path: Path) -> None:
    (tmp_path / "a.service").write_text("[Unit]\nAfter=b\n[Service]\nInaccessiblePaths=-/x \\\n  -/y\n# User=no\n")
    (tmp_path / "a.service.d").mkdir()
    (tmp_path / "a.service.d" / "groups.conf").write_text("[Service]\nSupplementaryGroups=gpio\n")
    text = sandbox.unit_text(tmp_path, "a.service")
    assert text is not None
    assert sandbox.service_properties(text) == ("InaccessiblePaths=-/x -/y", "SupplementaryGroups=gpio")
    assert sandbox.unit_text(tmp_path, "b.service") is None


@pytest.mark.parametrize("said", ["", "not json", "{}", '{"checks": [{"name": 1, "odd": 2}]}', "[]"])
def test_a_service_that_does_not_start_is_a_finding(said: str) -> None:
    code = f"import sys; print({said!r}); print('status=216/GROUP', file=sys.stderr); sys.exit(216)"
    (found,) = as_service._findings((sys.executable, "-c", code))
    assert not found.ok
    assert "216/GROUP" in found.found


def test_what_the_service_found_is_handed_on() -> None:
    code = """print('{"ok": false, "checks": [{"name": "disk", "ok": false, "found": "full", "do": "free it"}]}')"""
    (found,) = as_service._findings((sys.executable, "-c", code))
    assert (found.name, found.ok, found.found, found.do) == ("disk", False, "full", "free it")
