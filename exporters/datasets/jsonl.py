"""The layout that waycue itself learns from, for scripts that read nothing else:

frames/{walk}_chunk{NNNN}.jpg
audio/{walk}_chunk{NNNN}.wav
metadata.jsonl      {"frame_path", "audio_path", "instruction"}, exactly these three, paths inside the folder
"""

from __future__ import annotations

from collections.abc import Iterable

from exporters.datasets.folder import ExportFolder
from exporters.datasets.rows import LeftOut, Row, usable


def write(rows: Iterable[Row], folder: ExportFolder) -> LeftOut:
    """Returns what was left out. Raises: OSError."""
    lines, left_out = [], LeftOut()
    for row in usable(rows, "frame", "audio", left_out=left_out):
        frame_path = folder.place(row.file("frame"), f"frames/{row.name}.jpg")
        audio_path = folder.place(row.file("audio"), f"audio/{row.name}.wav")
        lines.append({"frame_path": frame_path, "audio_path": audio_path, "instruction": row.text})
    folder.write_lines("metadata.jsonl", lines)
    return left_out
