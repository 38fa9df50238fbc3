"""How right a ground head is on real pictures, class by class: what it says of cells against masks that others drew.

Beside the model stands the row that needs no eyes: at each place the class that is most frequent there in these very
pictures, which is more than any model could know beforehand. Cells of which a mask does not tell are not judged.
Intervals draw whole pictures: neighbouring cells are alike.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.dataset.mask_cells import UNTOLD
from shared.sight.ground import GROUND

RESAMPLES = 1000
MODEL, CONSTANT = "model", "most frequent class per place"
Cells = NDArray[np.int64]
"""[pictures, cells], places in GROUND, or UNTOLD"""


def report(told: Cells, said: Cells) -> dict[str, Any]:
    """Figures of the model and of the row beside it. told: what masks say; said: what the model says, never UNTOLD"""
    return {
        "pictures": len(told),
        "cells": int((told != UNTOLD).sum()),
        "rows": {MODEL: figures(told, said), CONSTANT: figures(told, most_frequent(told))},
    }


def most_frequent(told: Cells) -> Cells:
    """At each place the class that most pictures have there, in every picture; of equals the first of GROUND."""
    counts = np.stack([(told == place).sum(0) for place in range(len(GROUND))])
    return np.broadcast_to(counts.argmax(0), told.shape)


def figures(told: Cells, said: Cells) -> dict[str, Any]:
    """Of one row: the share of cells that are right, the mean IoU of classes that are there, and each class's own."""
    tables = np.stack([_table(*both) for both in zip(told, said, strict=True)])
    whole = tables.sum(0)
    there = [place for place in range(len(GROUND)) if whole[place].sum() or whole[:, place].sum()]
    classes = {GROUND[place]: _of_class(tables, place) for place in there}
    ious = [each["iou"][0] for each in classes.values() if each["cells"] and each["iou"]]
    return {
        "right": _interval(np.trace(tables, axis1=1, axis2=2), tables.sum((1, 2))),
        "mean_iou": round(float(np.mean(ious)), 4) if ious else None,
        "classes": classes,
    }


def _table(told: NDArray[np.int64], said: NDArray[np.int64]) -> NDArray[np.int64]:
    """[classes, classes] cells of one picture: told, said."""
    known = told != UNTOLD
    pairs = told[known] * len(GROUND) + said[known]
    return np.bincount(pairs, minlength=len(GROUND) ** 2).reshape(len(GROUND), len(GROUND))


def _of_class(tables: NDArray[np.int64], place: int) -> dict[str, Any]:
    hits, told, said = tables[:, place, place], tables[:, place].sum(1), tables[:, :, place].sum(1)
    return {
        "cells": int(told.sum()),
        "pictures": int((told > 0).sum()),
        "said": int(said.sum()),
        "precision": _interval(hits, said),
        "recall": _interval(hits, told),
        "iou": _interval(hits, told + said - hits),
    }


def _interval(part: NDArray[np.int64], whole: NDArray[np.int64]) -> list[float] | None:
    """[share, low, high] with a 95 % bootstrap interval over pictures; None where nothing was counted.

    part, whole: [pictures]
    """
    if not whole.sum():
        return None
    rng = np.random.default_rng(1)
    drawn = rng.integers(0, len(whole), (RESAMPLES, len(whole)))
    wholes = whole[drawn].sum(1)
    shares = part[drawn].sum(1)[wholes > 0] / wholes[wholes > 0]
    low, high = np.quantile(shares, [0.025, 0.975])
    return [round(float(value), 4) for value in (part.sum() / whole.sum(), low, high)]


def lines(found: dict[str, Any]) -> list[str]:
    """The report for a terminal."""
    out = [f"{found['pictures']} pictures, {found['cells']} cells of which the masks tell."]
    for name, row in found["rows"].items():
        out += ["", f"{name}: right {_shown(row['right'])}, mean IoU {row['mean_iou']}"]
        out.append(f"  {'class':<11}{'cells':>7}{'pictures':>10}  {'precision':<22}{'recall':<22}IoU")
        for kind, each in row["classes"].items():
            shares = "".join(f"{_shown(each[key]):<22}" for key in ("precision", "recall"))
            out.append(f"  {kind:<11}{each['cells']:>7}{each['pictures']:>10}  {shares}{_shown(each['iou'])}")
    return out


def _shown(share: list[float] | None) -> str:
    return "–" if share is None else f"{share[0]:.2f} ({share[1]:.2f} to {share[2]:.2f})"
