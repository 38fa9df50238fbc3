"""What the commands are asked about a home and a device's state, before a change and after it: the answers must be equal."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.compatibility.site import called, without

SERVER_ASKED: Mapping[str, tuple[str, ...]] = {
    "check": ("check", "--json"),
    "samples": ("samples", "list", "--state", "all", "--limit", "500", "--json"),
    "golden": ("samples", "golden", "list", "--json"),
    "stats": ("stats", "--by", "day", "--json"),
    "models": ("models", "list", "--json"),
    "gate": ("gate", "--explain", "night-1", "--json"),
    "rollouts": ("rollout", "status", "--json"),
    "devices": ("devices", "list", "--json"),
    "anna": ("devices", "show", "anna", "--json"),
    "keys": ("keys", "status", "--json"),
}
DEVICE_ASKED: Mapping[str, tuple[str, ...]] = {
    "identity": ("identity", "--json"),
    "outbox": ("outbox", "list", "--json"),
    "lost": ("outbox", "list", "--lost", "--json"),
    "device models": ("models", "list", "--json"),
    "selftest": ("selftest", "--only", "model", "--json"),
    "status": ("status", "--json"),
}
EXPORTS = ("jsonl", "imagefolder", "conversations", "vsr", "correction")
# What depends on the day it is asked: the last seven days, what has ended since, what is to be signed anew.
PASSING = ("today", "week", "devices", "state", "ended", "code_open", "well", "problems", "advice")


def server_answers(home: Path) -> dict[str, Any]:
    """Every question's answer, and in full each moment that a device sent."""
    found = {name: _answer(home, "waycue-server", "--home", home, *asked) for name, asked in SERVER_ASKED.items()}
    found["stats"], found["keys"] = (without(found[name]["said"], *PASSING) for name in ("stats", "keys"))
    found["devices"] = [without(one, "state", "code_open") for one in found["devices"]["said"]]
    found["gate in words"] = called("waycue-server", "--home", home, "gate", "--explain", "night-1")[0]
    decided = [sample["sample_id"] for sample in found["samples"]["said"] if sample["device"] != "label"]
    for own in decided:
        found[f"sample {own}"] = _answer(home, "waycue-server", "--home", home, "samples", "show", own, "--json")
    return found


def device_answers(state: Path, config: Path) -> dict[str, Any]:
    """Every question's answer, and each record in full."""
    where = ("--config", config, "--state", state)
    found = {name: _answer(state, "waycue-device", *asked, *where) for name, asked in DEVICE_ASKED.items()}
    for record in found["outbox"]["said"]:
        own = record["record_id"]
        found[f"record {own}"] = _answer(state, "waycue-device", "outbox", "show", own, "--json", *where)
    return found


def exported(home: Path, out: Path) -> dict[str, dict[str, str]]:
    """Format → path → hash of every file that an export writes."""
    found = {}
    for name in EXPORTS:
        status, _ = called(
            "waycue-server", "--home", home, "export", "--format", name, "--only", "all", "--out", out / name
        )
        assert status == 0, name
        found[name] = _hashes(out / name)
    return found


def carried_away(state: Path, config: Path, out: Path) -> dict[str, str]:
    """Path → hash of what `outbox export` copies."""
    called("waycue-device", "outbox", "export", out, "--config", config, "--state", state)
    return _hashes(out)


def _answer(folder: Path, name: str, *arguments: str | Path) -> dict[str, Any]:
    status, out = called(name, *arguments)
    return {"status": status, "said": json.loads(out.replace(str(folder), "FOLDER"))}


def _hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
