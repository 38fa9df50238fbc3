"""Kill the merge at every durable step in turn, start again, and report what is left. Run as a program.

Each try is a forked child that merges one chunk and one correction, and kills itself (SIGKILL) at its n-th call of
os.fsync, os.replace or a database commit; another way writes half a row of metadata.jsonl and dies. The parent then
opens the same folder, repairs it, sends everything again, as a device does that got no acknowledgement, and prints one
JSON line: where it was killed, and what is wrong afterwards.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from sqlalchemy import event

from server.dataset import row_log
from server.dataset.folder import Dataset
from server.review import decisions
from server.review.decisions import ReviewDecision
from tests.server.dataset.moments import House, moment, sound, spoken

CHUNK = moment(with_clip=True)
CORRECTION = spoken(CHUNK.record.chunk_id, sound(5))


def merge_everything(house: House) -> None:
    house.send(CHUNK)
    house.send(CORRECTION)
    if house.merge.unheard():
        house.merge.put_transcript(
            "pi-1", CORRECTION.record.correction_id, transcript="bin", confidence=0.9, proposal="Caution, bin ahead."
        )
    decisions.review(
        house.store, house.dataset, CHUNK.record.chunk_id, ReviewDecision("accept", "Eve"), now_s=house.clock.utc_s()
    )


class Killer:
    """Counts durable steps and dies at one of them."""

    def __init__(self, at: int, *, label_file: Path) -> None:
        self.at, self.label_file, self.count = at, label_file, 0

    def die(self, label: str) -> NoReturn:
        outside = f"{os.sep}tests{os.sep}"
        frames = [f.name for f in traceback.extract_stack() if "server" in f.filename and outside not in f.filename]
        self.label_file.write_text(f"{label} in {' < '.join(reversed(frames[-3:]))}")
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("unreachable")

    def step(self, label: str) -> None:
        self.count += 1
        if self.count == self.at:
            self.die(label)

    def wrap(self, name: str) -> None:
        original: Callable[..., Any] = getattr(os, name)

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            self.step(name)
            return original(*args, **kwargs)

        setattr(os, name, wrapped)


def child(home: Path, at: int, *, way: str, label_file: Path) -> None:
    killer = Killer(at, label_file=label_file)
    house = House(home)
    if way == "torn":
        _tear(killer)
    else:
        killer.wrap("fsync")
        killer.wrap("replace")
        event.listen(house.store.engine, "commit", lambda _connection: killer.step("commit"))
    merge_everything(house)


def _tear(killer: Killer) -> None:
    append = Dataset.append_soon

    def torn(self: Dataset, log: Path, values: Any) -> int:
        killer.count += 1
        if killer.count != killer.at:
            return append(self, log, values)
        with open(log, "ab") as file:
            file.write(json.dumps(next(iter(values))).encode()[:40])
        killer.die("half a row written")

    Dataset.append_soon = torn  # type: ignore[method-assign]


def faults_after(home: Path) -> list[str]:
    """Repair, send again, and compare with what an undisturbed run leaves."""
    house = House(home)
    row_log.reconcile(house.store, house.dataset, now_s=0.0)
    repaired = house.dataset.log.read_bytes() if house.dataset.log.exists() else b""
    row_log.reconcile(house.store, house.dataset, now_s=0.0)
    faults = [] if repaired == (house.dataset.log.read_bytes() if repaired else b"") else ["repair is not idempotent"]
    merge_everything(house)
    history = list(house.dataset.history())
    ids = [row.row_id for row in history]
    if len(set(ids)) != len(ids):
        faults.append(f"rows written twice: {ids}")
    if [row.supersedes for row in history] != ["", *ids[:-1]]:
        faults.append(f"a row was lost: {ids}")
    row = house.dataset.rows()[-1]
    if (row.ground_truth, row.reviewed, bool(row.clip_path)) != ("Caution, bin ahead.", True, True):
        faults.append(f"wrong final row: {row}")
    if decisions.get(house.store, row.sample_id) != row:
        faults.append("the database and the file disagree")
    for kind, data in {**CHUNK.payloads, "correction_audio": CORRECTION.payloads["correction_audio"]}.items():
        parts = {p.kind: p for p in (*CHUNK.record.parts, *CORRECTION.record.parts)}
        if (house.dataset.folder / house.dataset.path_of(kind, parts[kind].sha256)).read_bytes() != data:
            faults.append(f"the {kind} is damaged")
    house.close()
    return faults


def main() -> None:
    root = Path(sys.argv[1])
    for way in ("whole", "torn"):
        at = 0
        killed = True
        while killed:
            at += 1
            home, label_file = root / f"{way}-{at}", root / "label"
            label_file.write_text("")
            pid = os.fork()
            if pid == 0:
                child(home, at, way=way, label_file=label_file)
                os._exit(0)
            _, status = os.waitpid(pid, 0)
            killed = os.WIFSIGNALED(status)
            faults = faults_after(home) + ([] if killed or status == 0 else [f"the child failed: {status}"])
            print(json.dumps({"way": way, "at": at, "label": label_file.read_text(), "faults": faults}), flush=True)
            shutil.rmtree(home)


if __name__ == "__main__":
    main()
