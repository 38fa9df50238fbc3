"""Kill the merge at every durable step in turn, start again, and report what is left. Run as a program.

Each try is a life (see tests.crash) that merges one chunk and one correction. It is killed at a call that makes
something durable, at a database commit, or when half a row of a log is written. Afterwards the same folder is opened
and repaired, and everything is sent again, as a device does that got no acknowledgement. One JSON line per try: where
it was killed, and what is wrong.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import sqlalchemy.dialects.sqlite  # noqa: F401  once, and not in each of the forks

from server.dataset import row_log
from server.dataset.folder import Dataset
from server.review import decisions
from server.review.decisions import ReviewDecision
from tests import crash
from tests.crash import Killer
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


def life(home: Path, killer: Killer) -> None:
    house = House(home)
    killer.watch()
    killer.watch_commits(house.store.engine)
    _watch_half_rows(killer)
    merge_everything(house)
    house.close()


def _watch_half_rows(killer: Killer) -> None:
    append, label = Dataset.append_soon, "half a row written"

    def watched(self: Dataset, log: Path, values: Any) -> int:
        values = list(values)
        if killer.strikes(label):
            with open(log, "ab") as file:
                file.write(json.dumps(values[0]).encode()[:40])
        killer.step(label)
        return append(self, log, values)

    Dataset.append_soon = watched  # type: ignore[method-assign]


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


def main(place: Path) -> None:
    template = place / "template"
    assert crash.fork(lambda: House(template).close()).status == 0
    for attempt in crash.tries(place, template, life, faults_after):
        print(json.dumps({"label": attempt.label, "faults": attempt.problems}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
