"""The layout that waycue itself learns from, for scripts that read nothing else:

frames/{walk}_chunk{NNNN}.jpg
audio/{walk}_chunk{NNNN}.wav
metadata.jsonl      {"frame_path", "audio_path", "instruction"}, exactly these three, paths inside the folder
"""

from __future__ import annotations

from collections.abc import Sequence

from exporters.datasets.folder import ExportFolder
from exporters.datasets.rows import LeftOut, Progress, Row, count, no_progress, without


def write(rows: Sequence[Row], folder: ExportFolder, *, progress: Progress = no_progress) -> LeftOut:
    """Returns what was left out. Raises: OSError."""
    lines, left_out = [], LeftOut()
    for done, row in enumerate(rows, start=1):
        progress(done)
        reason = without(row, "frame", "audio")
        if reason or row.frame is None or row.audio is None:
            count(left_out, reason)
            continue
        frame_path = folder.place(row.frame, f"frames/{row.name}.jpg")
        audio_path = folder.place(row.audio, f"audio/{row.name}.wav")
        lines.append({"frame_path": frame_path, "audio_path": audio_path, "instruction": row.text})
    folder.write_lines("metadata.jsonl", lines)
    return left_out
