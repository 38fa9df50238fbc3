"""Kill a round that makes room at every durable step in turn, start again, and report what is wrong. Run as a program.

Each try is a life (see tests.crash) that announces one moment more and deletes two whose day has come. Afterwards the
same home is opened, as a start of the server does it, and the round is made again. One JSON line per try.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import sqlalchemy.dialects.sqlite  # noqa: F401  once, and not in each of the forks
from sqlalchemy import select

from server.consent.settings import ConsentSettings
from server.consent.tables import space_expiries
from server.dataset.recover import recover
from server.maintenance.check import check
from server.privacy import deletion, making_room
from server.privacy.deletion import DeletionPort
from server.privacy.space import DAY_S
from server.privacy.space_settings import SpaceSettings
from server.review import decisions
from server.review.decisions import ReviewDecision
from shared.clock import ManualClock
from tests import crash
from tests.crash import Killer
from tests.server.dataset.moments import House, moment

SETTINGS = SpaceSettings(dataset_most_gb=1e-9)
NAMES = [moment(n).record.chunk_id for n in range(4)]
"""The first two are due, the third is new to the life, nobody has reviewed the last."""


def rejected(house: House, name: str) -> None:
    decisions.review(house.store, house.dataset, name, ReviewDecision("reject", "Eve"), now_s=1.7e9)


def port_of(house: House) -> DeletionPort:
    return deletion.port_of(house.home, house.store, house.dataset, house.clock, house.merge)


def made(home: Path) -> None:
    house = House(home)
    house.send_all([moment(n) for n in range(4)])
    for name in NAMES[:2]:
        rejected(house, name)
    making_room.run(port_of(house), SETTINGS, ConsentSettings(), 0.0)
    rejected(house, NAMES[2])
    house.store.wipe()
    house.close()


def later(home: Path) -> House:
    house = House(home)
    house.clock.sleep(8 * DAY_S)
    return house


def life(home: Path, killer: Killer) -> None:
    house = later(home)
    killer.watch()
    killer.watch_commits(house.store.engine)
    making_room.run(port_of(house), SETTINGS, ConsentSettings(), 0.0)
    house.close()


def faults_after(home: Path) -> list[str]:
    house, faults = later(home), list[str]()
    recover(house.store, house.dataset, house.merge, house.clock)
    deletion.finish(port_of(house))
    making_room.run(port_of(house), SETTINGS, ConsentSettings(), 0.0)
    left = sorted(row.sample_id for row in house.dataset.rows())
    with house.store.reading() as connection:
        told = sorted(connection.execute(select(space_expiries.c.sample_id)).scalars())
    if (left, told) != (NAMES[2:], [NAMES[2]]):
        faults.append(f"left {left}, announced {told}")
    proofs = deletion.all_proofs(house.store)
    if sum(proof.moments for proof in proofs) != 2 or not all(proof.checked for proof in proofs):
        faults.append(f"proofs {proofs}")
    house.close()
    return [*faults, *map(str, check(home, ManualClock()).findings)]


def main(place: Path) -> None:
    template = place / "template"
    assert crash.fork(lambda: made(template)).status == 0
    for attempt in crash.tries(place, template, life, faults_after):
        print(json.dumps({"label": attempt.label, "faults": attempt.problems}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
