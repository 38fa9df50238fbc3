"""A bundle changed on purpose."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from shared import bundle

GOLDEN = Path("golden/golden.json")


def rewrite(folder: Path, *, without: str = "", **changes: Any) -> None:
    """Hash a bundle's files anew under its old manifest; `without` leaves a key of its model section out."""
    old = bundle.read_manifest(folder)
    model = {key: value for key, value in old.model.items() if key != without}
    kept = replace(old, model=model, evaluation={}, extra={})
    bundle.write_bundle(folder, replace(kept, **changes))


def golden_cases(folder: Path) -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = json.loads((folder / GOLDEN).read_text())
    return cases


def set_golden(folder: Path, cases: list[dict[str, Any]]) -> None:
    (folder / GOLDEN).write_text(json.dumps(cases))
    rewrite(folder)


def golden_picture(folder: Path, n: int) -> NDArray[np.uint8]:
    """uint8 [h, w, 3] RGB."""
    picture = cv2.imread(str(folder / "golden" / f"{n:03d}.jpg"), cv2.IMREAD_COLOR)
    assert picture is not None
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)
