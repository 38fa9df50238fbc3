"""Kill a deletion and a blur at every durable step in turn, start again, and report what is left. Run as a program.

Each try is a life (see tests.crash) that blurs one marked moment and deletes another. Afterwards the same home is
opened, as a start of the server does it: either nothing was begun and all of it is there, or it is finished and no byte
of the home has a mark. One JSON line per try.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import sqlalchemy.dialects.sqlite  # noqa: F401  once, and not in each of the forks

from server.consent.settings import ConsentSettings
from server.dataset.recover import recover
from server.maintenance.check import check
from server.privacy import deletion, plans, replacing
from server.privacy.blurring import PeopleFinder
from shared.clock import ManualClock
from tests import crash
from tests.crash import Killer
from tests.server.dataset.moments import House
from tests.server.privacy.planted import places, planted

GONE, BLURRED = planted(0, "X"), planted(1, "B")


def made(home: Path) -> None:
    house = House(home)
    house.send_all([*GONE, *BLURRED])
    house.store.wipe()
    house.close()


def life(home: Path, killer: Killer) -> None:
    house = House(home)
    killer.watch()
    killer.watch_commits(house.store.engine)
    port = deletion.port_of(home, house.store, house.dataset, house.clock, house.merge)
    replacing.blur(port, BLURRED[0].record.chunk_id, PeopleFinder(()), ConsentSettings(), by="Eve", whole=True)
    with house.store.reading() as connection:
        plan = plans.of_moments(connection, [GONE[0].record.chunk_id])
    deletion.carry_out(port, plan, by="Eve")
    house.close()


def faults_after(home: Path) -> list[str]:
    house, faults = House(home), list[str]()
    recover(house.store, house.dataset, house.merge, house.clock)
    deletion.finish(deletion.port_of(home, house.store, house.dataset, house.clock, house.merge))
    proofs = {proof.what: proof for proof in deletion.all_proofs(house.store)}
    if not all(proof.checked for proof in proofs.values()) or deletion.waiting(house.store):
        faults.append("something is not done")
    rows = {row.sample_id: row for row in house.dataset.rows()}
    left = list(places(home, "X"))
    is_gone = GONE[0].record.chunk_id not in rows
    if is_gone != ("moment" in proofs) or is_gone != (not left):
        faults.append(f"half deleted: {left}")
    seen = [place for place in places(home, "B") if "MARKBframe" in place or "MARKBclip" in place]
    is_blurred = rows[BLURRED[0].record.chunk_id].hidden == "whole"
    if is_blurred != ("blur" in proofs) or is_blurred != (not seen):
        faults.append(f"half blurred: {seen}")
    house.close()
    # A blurred file of which the power cut came before the transaction is nobody's, and shows nobody.
    found = [one for one in check(home, ManualClock()).findings if one.what != "file of nobody"]
    return [*faults, *map(str, found)]


def main(place: Path) -> None:
    template = place / "template"
    assert crash.fork(lambda: made(template)).status == 0
    for attempt in crash.tries(place, template, life, faults_after):
        print(json.dumps({"label": attempt.label, "faults": attempt.problems}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
