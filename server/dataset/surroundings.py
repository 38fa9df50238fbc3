"""Guesses of a moment's surroundings, and a person's word about them, as rows of the log.

    lighting    from the picture: how bright its middle is. Measured in docs/learning.md. A dark one is "night" where
                the hour says so, too
    scenario    from the wording, by the table of things: what the vocabulary says, no guess of a picture

The environment and the weather are guessed by a model alone that the admin names (server.eyes.zero_shot): nothing that
comes along tells them better than the most frequent one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from server.database.store import Store
from server.dataset import row_log
from server.dataset.folder import Dataset
from server.dataset.sample_row import SampleRow, next_version
from server.labelling import conditions
from shared import vocabulary
from shared.errors import Refused
from shared.jpeg import decode_picture

PICTURE, WORDS, HOUR = "picture", "words", "picture and hour"
NIGHT_FROM, NIGHT_TO = 22, 5
"""Hours of this machine's clock between which a dark picture counts as taken at night, wherever and whenever on earth
but near the poles."""
DARK_BELOW = 0.2
"""Median luma, 0..1, below which a picture counts as taken in low light."""
_LOOKED_AT = (64, 48)
_HAZARDS = frozenset((
    "curb", "curb ramp", "street edge", "drop-off", "stairs down", "stairs up", "step", "escalator", "vehicle",
    "bicycle", "scooter", "train tracks", "uneven ground", "slippery ground", "driveway",
))  # fmt: skip
Guesses = dict[str, tuple[str, str]]
"""Field → (value, what guessed it)."""


def lighting(image: NDArray[np.uint8]) -> str:
    """ "day" or "low light". image: [h, w, 3] RGB"""
    small = cv2.resize(image, _LOOKED_AT, interpolation=cv2.INTER_AREA)
    luma = small.astype(np.float32) @ np.array((0.299, 0.587, 0.114), np.float32) / 255
    return "low light" if float(np.median(luma)) < DARK_BELOW else "day"


def scenario(wording: str) -> str:
    """What a canonical sentence is about: "hazards", "obstacles" or "navigation"; "" = nothing, or not understood."""
    slots = vocabulary.parse(wording) if wording and wording != vocabulary.CLEAR else None
    if slots is None:
        return ""
    if not slots.object:
        return "navigation"
    if slots.object in _HAZARDS:
        return "hazards"
    return "navigation" if vocabulary.load().objects[slots.object].tier == 3 else "obstacles"


def guesses(picture: Path, wording: str = "", *, at: datetime | None = None) -> Guesses:
    """What can be told of a picture and its wording. A picture that can not be read tells nothing. Raises: OSError.

    at: when it was taken, by the clocks of where it was; None = nobody knows
    """
    image = decode_picture(picture.read_bytes())
    out: Guesses = {} if image is None else {"lighting": (lighting(image), PICTURE)}
    night = at is not None and not NIGHT_TO <= at.hour < NIGHT_FROM
    if night and out.get("lighting", ("", ""))[0] == "low light":
        out["lighting"] = ("night", HOUR)
    if about := scenario(wording):
        out["scenario"] = (about, WORDS)
    return out


def fitting(found: Guesses) -> Guesses:
    """Guesses without a weather indoors, where there is none. Pure."""
    indoors = found.get("environment", ("", ""))[0] in conditions.INDOORS
    return {name: guess for name, guess in found.items() if not (indoors and name == "weather")}


def fields_of(row: SampleRow) -> dict[str, str]:
    """The eight fields of a row, those that are "" too."""
    return {name: getattr(row, name) for field in conditions.FIELDS for name in (field, f"{field}_from")}


def describe(store: Store, dataset: Dataset, sample_id: str, values: Mapping[str, str], *, now_s: float) -> SampleRow:
    """Write down what a person says of a moment's surroundings; returns the moment as it now stands.

    values: field → choice, "" takes one back
    raises: Refused where there is no such moment, field or choice; OSError
    """
    said: dict[str, Any] = {**conditions.by_person(values)}
    with store.writing() as connection:
        row = row_log.current(connection, sample_id)
        if row is None:
            raise Refused(f"There is no moment {sample_id!r:.110}.", hint="See: waycue-server samples list --state all")
        after = replace(row, **said)
        if after != row:
            after = next_version(row, after)
            row_log.insert_row(connection, after, now_s=now_s)
    row_log.flush(store, dataset, now_s=now_s)
    return after


def take_over(store: Store, dataset: Dataset, sample_id: str, fields: Mapping[str, str], *, now_s: float) -> None:
    """What a label's line says of the surroundings, where no person has said it of the moment; other choices than
    those of the plan are left out. Raises: Refused where there is no such moment; OSError."""
    with store.reading() as connection:
        row = row_log.current(connection, sample_id)
    known = {} if row is None else conditions.said(fields_of(row))
    if new := {name: value for name, value in conditions.said(fields).items() if name not in known}:
        describe(store, dataset, sample_id, new, now_s=now_s)


def guess_all(
    store: Store,
    dataset: Dataset,
    rows: Iterable[SampleRow],
    *,
    now_s: float,
    local: Callable[[float], datetime] = datetime.fromtimestamp,
    also: Callable[[NDArray[np.uint8]], Guesses] = lambda image: {},
) -> int:
    """Write guesses down for moments where a person has said nothing; returns how many changed. Safe to repeat.

    local: seconds since 1970 → by the clocks of where the moments were: this machine's
    also: a model's guesses of a picture, uint8 [h, w, 3] RGB; they go before those that are made here
    raises: OSError
    """
    changed = 0
    for seen in rows:
        picture = dataset.blobs.local(seen.frame_path)
        if not seen.frame_path or not picture.is_file():
            continue
        truth = seen.ground_truth if seen.reviewed else ""
        image = decode_picture(picture.read_bytes())
        told = {} if image is None else fitting(also(image))
        found = {**guesses(picture, truth, at=local(seen.timestamp)), **told}
        with store.writing() as connection:
            row = row_log.current(connection, seen.sample_id)
            if row is None or row.row_id != seen.row_id:
                continue  # somebody was at it meanwhile: the next run guesses
            fields: dict[str, Any] = {**conditions.with_guesses(fields_of(row), found)}
            after = replace(row, **fields)
            if after != row:
                row_log.insert_row(connection, next_version(row, after), now_s=now_s)
                changed += 1
    row_log.flush(store, dataset, now_s=now_s)
    return changed
