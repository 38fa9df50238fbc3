"""The commands whose output about a home and a device's state must be equal before and after a change."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.compatibility.site import call, without

SERVER_COMMANDS: Mapping[str, tuple[str, ...]] = {
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
DEVICE_COMMANDS: Mapping[str, tuple[str, ...]] = {
    "identity": ("identity", "--json"),
    "outbox": ("outbox", "list", "--json"),
    "lost": ("outbox", "list", "--lost", "--json"),
    "device models": ("models", "list", "--json"),
    "selftest": ("selftest", "--only", "model", "--json"),
    "status": ("status", "--json"),
}
THEN = {"jsonl": ("frame_path", "audio_path", "instruction"), "imagefolder": ("file_name", "text")}
"""Fields of a line of metadata.jsonl in version 0.1.0. Later ones come behind them."""
EXPORTS = ("jsonl", "imagefolder", "conversations", "vsr", "correction")
# Depends on the day: counts of the last seven days, what has ended since, what must be signed again.
PASSING = ("today", "week", "devices", "state", "ended", "code_open", "well", "problems", "advice")


def server_answers(home: Path) -> dict[str, Any]:
    """The output of every command, and of `samples show` for each moment that a device sent."""
    server = ("waycue-server", "--home", home)
    answers: dict[str, Any] = {name: _answer(home, *server, *words) for name, words in SERVER_COMMANDS.items()}
    for name in ("stats", "keys"):
        answers[name] = without(answers[name]["printed"], *PASSING)
    answers["devices"] = without(answers["devices"]["printed"], "state", "code_open")
    answers["gate, as text"] = call(*server, "gate", "--explain", "night-1")[0]
    for sample in answers["samples"]["printed"]:
        if sample["device"] != "label":
            own = sample["sample_id"]
            answers[f"sample {own}"] = _answer(home, *server, "samples", "show", own, "--json")
    return answers


def device_answers(state: Path, config: Path) -> dict[str, Any]:
    """The output of every command, and of `outbox show` for each record."""
    place = ("--config", config, "--state", state)
    answers = {name: _answer(state, "waycue-device", *words, *place) for name, words in DEVICE_COMMANDS.items()}
    for record in answers["outbox"]["printed"]:
        own = record["record_id"]
        answers[f"record {own}"] = _answer(state, "waycue-device", "outbox", "show", own, "--json", *place)
    return answers


def exported(home: Path, out: Path) -> dict[str, dict[str, str]]:
    """Format → path → SHA-256 of every file that `export` writes; of lines only the fields that version 0.1.0 had."""
    hashes = {}
    for name in EXPORTS:
        words = ("export", "--format", name, "--only", "all", "--out", out / name)
        assert call("waycue-server", "--home", home, *words)[0] == 0, name
        of_then = THEN.get(name, ())
        for log in (out / name).rglob("metadata.jsonl") if of_then else ():
            lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
            then = [{field: line[field] for field in of_then} for line in lines]
            log.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in then), encoding="utf-8")
        hashes[name] = _hashes(out / name)
    return hashes


def exported_records(state: Path, config: Path, out: Path) -> dict[str, str]:
    """Path → SHA-256 of every file that `outbox export` copies."""
    call("waycue-device", "outbox", "export", out, "--config", config, "--state", state)
    return _hashes(out)


def _answer(folder: Path, name: str, *arguments: str | Path) -> dict[str, Any]:
    status, out = call(name, *arguments)
    return {"status": status, "printed": json.loads(out.replace(str(folder), "FOLDER"))}


def _hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
