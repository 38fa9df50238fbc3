"""Rows with real files, as the server hands them to the writers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from exporters.datasets.rows import Row
from tests.server.dataset.moments import clip, picture, sound


def row(folder: Path, n: int = 0, *, with_clip: bool = False, **changes: Any) -> Row:
    """Moment n of walk-1; its files lie in `folder`, named by something else than the export will name them."""
    folder.mkdir(exist_ok=True)
    files = {"frame": ("jpg", picture(n)), "audio": ("wav", sound(n))}
    if with_clip:
        files["clip"] = ("mp4", clip(n))
    paths = {}
    for kind, (suffix, data) in files.items():
        paths[kind] = folder / f"{kind}{n}.{suffix}"
        paths[kind].write_bytes(data)
    values: dict[str, Any] = {
        "name": f"walk-1_chunk{n:04d}",
        "text": "Stop, curb ahead.",
        "raw": "Caution, pole ahead.",
        "context": "to the shop",
        "duration_s": 2.0,
        "fps": 10.0,
        **paths,
    }
    return Row(**{**values, **changes})
