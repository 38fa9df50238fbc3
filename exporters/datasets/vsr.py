"""Video → text pairs.

videos/{walk}_chunk{NNNN}.mp4
vsr.jsonl       {"video", "text", "duration", "fps"}: path inside the folder, seconds, pictures a second
"""

from __future__ import annotations

from collections.abc import Iterable

from exporters.datasets.folder import ExportFolder
from exporters.datasets.rows import LeftOut, Row, usable


def write(rows: Iterable[Row], folder: ExportFolder) -> LeftOut:
    """Returns what was left out: a moment whose clip never came has no video. Raises: OSError."""
    lines, left_out = [], LeftOut()
    for row in usable(rows, "clip", left_out=left_out):
        video = folder.place(row.file("clip"), f"videos/{row.name}{row.file('clip').suffix}")
        lines.append({"video": video, "text": row.text, "duration": round(row.duration_s, 3), "fps": _rate(row.fps)})
    folder.write_lines("vsr.jsonl", lines)
    return left_out


def _rate(fps: float) -> float | int:
    return round(fps) if abs(fps - round(fps)) < 0.005 else round(fps, 3)
