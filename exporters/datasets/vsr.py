"""Video → text pairs.

videos/{walk}_chunk{NNNN}.mp4
vsr.jsonl       {"video", "text", "duration", "fps"}: path inside the folder, seconds, pictures a second
"""

from __future__ import annotations

from collections.abc import Sequence

from exporters.datasets.folder import ExportFolder
from exporters.datasets.rows import LeftOut, Progress, Row, count, no_progress, without


def write(rows: Sequence[Row], folder: ExportFolder, *, progress: Progress = no_progress) -> LeftOut:
    """Returns what was left out: a moment whose clip never came has no video. Raises: OSError."""
    lines, left_out = [], LeftOut()
    for done, row in enumerate(rows, start=1):
        progress(done)
        reason = without(row, "clip")
        if reason or row.clip is None:
            count(left_out, reason)
            continue
        video = folder.place(row.clip, f"videos/{row.name}{row.clip.suffix}")
        lines.append({"video": video, "text": row.text, "duration": round(row.duration_s, 3), "fps": _rate(row.fps)})
    folder.write_lines("vsr.jsonl", lines)
    return left_out


def _rate(fps: float) -> float | int:
    return round(fps) if abs(fps - round(fps)) < 0.005 else round(fps, 3)
