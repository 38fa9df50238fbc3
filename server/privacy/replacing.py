"""Blur now: the picture and the clip of a moment are replaced by blurred ones, and the others are deleted with a proof.

    blurred files written → one transaction: a new row, the parts' paths, the plan to delete the others → finished

Until the transaction the moment is as it was; after it, the plan is carried out whatever happens
(server.privacy.deletion). What its device sends again of the first picture is not taken.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, insert, update

from server.consent.settings import ConsentSettings
from server.consent.tables import deletions
from server.database import store as db
from server.dataset import part_paths, pictures, row_log
from server.dataset.sample_row import SampleRow, next_version
from server.privacy import blurring, deletion, plans
from server.privacy.blurring import PeopleFinder
from server.privacy.deletion import DeletionPort
from server.privacy.plans import DeletionKind, DeletionPlan
from server.privacy.proof import Proof
from shared import hidden, veil
from shared.errors import Refused
from shared.jpeg import encode_jpeg


@dataclass(frozen=True, slots=True)
class BlurOutcome:
    """What a blur came to."""

    hidden: str
    """As shared.hidden words it; "" = nothing was found, and nothing changed."""
    found_with: str
    proof: Proof | None = None


@dataclass(frozen=True, slots=True)
class _Made:
    """Blurred files, on disk."""

    hidden: str
    paths: dict[str, str]
    """Part kind → path in the dataset."""


def blur(
    port: DeletionPort, sample_id: str, finder: PeopleFinder, settings: ConsentSettings, *, by: str, whole: bool = False
) -> BlurOutcome:
    """Hide faces, heads and plates in a moment's picture and clip; whole: all of both.

    raises: Refused where there is no such moment, or it changes meanwhile; DatasetError where its picture cannot be
    read; MediaError, OSError
    """
    with port.store.reading() as connection:
        row = row_log.current(connection, sample_id)
    if row is None:
        raise Refused(f"There is no moment {sample_id!r:.110}.", hint="See: waycue-server samples list --state all")
    made = _made(port, row, None if whole else finder)
    if not made.hidden:
        return BlurOutcome("", finder.names)
    number = _exchange(port, row, made, settings, by)
    row_log.flush(port.store, port.dataset, now_s=port.clock.utc_s())
    deletion.finish(port)
    return BlurOutcome(made.hidden, finder.names, deletion.proof_of(port.store, number))


def _made(port: DeletionPort, row: SampleRow, finder: PeopleFinder | None) -> _Made:
    """finder: None = all of it is hidden"""
    local = port.dataset.blobs.local
    image = pictures.read(local(row.frame_path), of=f" of sample {row.sample_id}")
    found = {"frame": _hidden_picture(image, finder)}
    if row.clip_path:
        clip = blurring.hidden_clip(local(row.clip_path), finder)
        found["clip"] = clip.data, clip.count
    paths = {kind: _written(port, kind, data) for kind, (data, count) in found.items() if count}
    if not paths:
        return _Made("", {})
    return _Made(hidden.WHOLE if finder is None else hidden.of_regions(_before(row) + found["frame"][1]), paths)


def _hidden_picture(image: veil.Image, finder: PeopleFinder | None) -> tuple[bytes, int]:
    """(a JPEG with what is found in blocks, how many regions that were)"""
    if finder is None:
        return encode_jpeg(veil.whole(image)), 1
    found = finder.hide(image)
    return encode_jpeg(found.image), found.faces + found.bodies


def _before(row: SampleRow) -> int:
    """Regions that were hidden in it already."""
    number = row.hidden.partition(" ")[0]
    return int(number) if number.isascii() and number.isdigit() else 0


def _written(port: DeletionPort, kind: str, data: bytes) -> str:
    path = port.dataset.path_of(kind, hashlib.sha256(data).hexdigest())
    port.dataset.blobs.put(path, data)
    return path


def _exchange(port: DeletionPort, row: SampleRow, made: _Made, settings: ConsentSettings, by: str) -> int:
    """One transaction; the number of the deletion of what was replaced. Raises: Refused."""
    now_s = port.clock.utc_s()
    with port.dataset.appending(), port.store.writing() as connection:
        row_log.catch_up(connection, port.dataset, now_s=now_s)
        current = row_log.current(connection, row.sample_id)
        if current is None or (current.frame_path, current.clip_path) != (row.frame_path, row.clip_path):
            raise Refused("This moment has changed meanwhile. Nothing was blurred.", hint="Look again.")
        after: dict[str, Any] = {f"{kind}_path": path for kind, path in made.paths.items()}
        replaced = {str(getattr(current, name)): name.removesuffix("_path") for name in after}
        shown = made.hidden if "frame" in made.paths or made.hidden == hidden.WHOLE else current.hidden
        extra = {**current.extra, **({hidden.FIELD: shown} if shown else {})}
        row_log.insert_row(connection, next_version(current, current, **after, extra=extra), now_s=now_s)
        _move_parts(port, connection, row, made)
        plan = DeletionPlan(what=DeletionKind.BLUR, moments=(), records={}, files=replaced, blurred=(row.sample_id,))
        plan = replace(deletion.with_settings(plan, settings), retire=False)
        values = {"by": by, "what": plan.what, "plan": plans.to_dict(plan), "proof": {}}
        planned = insert(deletions).values(begun_at=now_s, ended_at=None, **values)
        return int(connection.execute(planned.returning(deletions.c.id)).scalar_one())


def _move_parts(port: DeletionPort, connection: Connection, row: SampleRow, made: _Made) -> None:
    """A part keeps the hash that its device names, and lies elsewhere: so what comes again is known, and not taken.
    The line of records.jsonl that says so is part of carrying the plan out."""
    table = db.parts
    for kind, path in made.paths.items():
        own = table.c.device == row.device, table.c.record_id == row.sample_id, table.c.kind == kind
        size = port.dataset.blobs.size(path)
        connection.execute(update(table).where(*own).values(**part_paths.lying_at(path), size_bytes=size))
