"""The selftest as the service would have it: its account, groups and sandbox, and the sentinel's for the sentinel."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from device.commands.check_result import CheckResult, bad
from device.commands.machine_checks import sentinel_plays
from device.install import sandbox
from device.install.plan import DEVICE_UNIT, SENTINEL_UNIT, UNIT_FOLDER
from shared.errors import ConfigError

RUNNING = Path("/run/systemd/system")
BY_HAND = "--by-hand"
LONGEST_S = 180.0
EXEC_FAILURES = {
    200: "(the working directory is not there)", 203: "(the program is not there)", 216: "(a group is not there)",
    217: "(the account is not there)", 226: "(the sandbox cannot be set up)", 228: "(the filter of system calls)",
    233: "(its folder in /run)", 238: "(its state folder)",
}  # fmt: skip
"""Exit status of a service that could not be started → what it was. source: systemd.exec(5), process exit codes"""


def wanted(*, asked: bool, by_hand: bool) -> bool:
    """Whether the checks are to run in the service's sandbox; root means it. Raises: ConfigError where it cannot be."""
    if by_hand:
        return False
    why = _why_not()
    if asked and why:
        raise ConfigError(f"The selftest cannot run as the service: {why}.", hint=f"Without it: {BY_HAND}.")
    if why and (os.geteuid() == 0 or sandbox.unit_text(Path(UNIT_FOLDER), DEVICE_UNIT) is not None):
        print(f"Not tried in the service's sandbox: {why}.", file=sys.stderr)
    return not why


def _why_not() -> str:
    if os.geteuid() != 0:
        return "only root may start a service"
    if not RUNNING.is_dir() or not shutil.which("systemd-run"):
        return "systemd does not run here"
    if sandbox.unit_text(Path(UNIT_FOLDER), DEVICE_UNIT) is None:
        return f"{DEVICE_UNIT} is not installed (waycue-device install)"
    return ""


def run(argv: Sequence[str], *, only: Sequence[str], config: Path | None) -> list[CheckResult]:
    """The findings of `waycue-device selftest` with these arguments, and of the sentinel in its own sandbox.

    raises: ConfigError where the service's process said something else, OSError
    """
    words = (sys.executable, "-m", "device", *argv, BY_HAND, "--json")
    findings = _findings(_command(DEVICE_UNIT, words))
    if not only or "sentinel" in only:
        findings = [_sentinel(config) if _is_tried(finding) else finding for finding in findings]
    return findings


def _is_tried(finding: CheckResult) -> bool:
    """The sentinel's check did play: where it is not used, that is what there is to say."""
    return finding.name == "sentinel" and (not finding.ok or finding.found.startswith("played"))


def _sentinel(config: Path | None) -> CheckResult:
    words = (sys.executable, "-m", "device.sentinel.trial", *(() if config is None else ("--config", str(config))))
    return sentinel_plays(_command(SENTINEL_UNIT, words))


def _command(unit: str, words: Sequence[str]) -> tuple[str, ...]:
    text = sandbox.unit_text(Path(UNIT_FOLDER), unit)
    properties = () if text is None else sandbox.service_properties(text)
    return sandbox.command("systemd-run", properties, words)


def _findings(command: Sequence[str]) -> list[CheckResult]:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_S, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return [bad("service", f"no answer within {LONGEST_S:.0f} s", do=f"Try it without the service: {BY_HAND}.")]
    try:
        checks = json.loads(done.stdout)["checks"]
        return [CheckResult(**check) for check in checks]
    except (ValueError, KeyError, TypeError):
        said = (done.stderr or done.stdout).strip().splitlines()
        why = said[-1] if said else f"exit status {done.returncode} {EXEC_FAILURES.get(done.returncode, '')}".strip()
        return [bad("service", f"it does not start: {why}", do="journalctl -n 20 says more.")]
