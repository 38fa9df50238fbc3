"""Killed at any durable step, the outbox still keeps its promises: nothing promised is missing without being named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from device.outbox.outbox import STEPS, Outbox, Recovery
from shared.atomic import no_step
from tests import crash
from tests.crash import Killer
from tests.device.outbox.life import ERASED, REFUSED, WISH, live

KINDS = {"chunk": ("", ".frame", ".audio"), "correction": ("", ".correction_audio"), "erase": ("",)}


def _promised(folder: Path, what: str) -> set[str]:
    lines = (folder / "promises.jsonl").read_text().splitlines() if (folder / "promises.jsonl").exists() else []
    return {line["name"] for line in map(json.loads, lines) if line["what"] == what}


def _check(folder: Path) -> None:
    """What must hold right after any kill."""
    box = Outbox(folder / "outbox")
    try:
        items = box.claim(1000) + box.claim(1000, bulk=True)
        waiting = {item.record_id for item in items}
        names = {item.name for item in items}
        failed = {failure.record_id for failure in box.failures()}
        lost_file = box.folder / "lost.jsonl"
        lost = (
            {json.loads(line)["record_id"] for line in lost_file.read_text().splitlines()}
            if lost_file.exists()
            else set()
        )
        merged = _promised(folder, "merged")
        for record_id in _promised(folder, "sealed") | _promised(folder, "refused"):
            kinds = KINDS["correction" if "-c" in record_id else "erase" if "-e" in record_id else "chunk"]
            missing = {record_id + kind for kind in kinds} - merged - names
            assert not missing or record_id in failed | lost, f"{missing} neither waits, nor was merged, nor was named"
        assert failed <= REFUSED
        if WISH.erase_id in waiting or _promised(folder, "erased"):
            assert not waiting & set(ERASED), "what was erased is back"
            assert not [path for name in ERASED for path in box.folder.rglob(f"{name}*")]
            assert not lost & set(ERASED)
        for item in items:  # whatever waits is whole
            assert item.path.stat().st_size == item.size_bytes
        on_disk = {p.name for p in box.folder.iterdir() if p.is_dir() and p.name != "failed"}
        assert waiting <= on_disk
        assert not any(name.endswith((".sealing", ".gone", ".part")) for name in on_disk)
        assert box.recovered.lost == box.recovered.damaged == ()
    finally:
        box.close()


@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("step", STEPS)
def test_killed_right_after_a_step_nothing_is_lost_and_the_story_can_go_on(
    memory_path: Path, step: str, nth: int
) -> None:
    life = crash.fork(lambda: live(memory_path, Killer(name=step, nth=nth), sealed=nth == 1))
    assert life.was_killed or (life.status == 0 and nth == 2), f"the story never comes to {step}"
    _check(memory_path)
    assert crash.fork(lambda: live(memory_path, no_step, sealed=nth == 1)).status == 0
    _check(memory_path)
    box = Outbox(memory_path / "outbox")
    assert box.recovered == Recovery()
    assert box.counts().queued == 0
    box.close()


def test_every_named_step_is_really_taken(memory_path: Path) -> None:
    """A step that the code no longer takes would make its crash test empty."""
    seen: list[str] = []
    live(memory_path, seen.append)
    assert set(seen) == set(STEPS)
