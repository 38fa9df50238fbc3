"""What was worded → what should have been said, for a model that corrects wordings. Text only.

corrections.jsonl       {"input", "output", "context"}
"""

from __future__ import annotations

from collections.abc import Sequence

from exporters.datasets.folder import ExportFolder
from exporters.datasets.rows import LeftOut, Progress, Row, count, no_progress


def write(rows: Sequence[Row], folder: ExportFolder, *, progress: Progress = no_progress) -> LeftOut:
    """Returns what was left out: a moment at which the model worded nothing has no input. Raises: OSError."""
    lines, left_out = [], LeftOut()
    for done, row in enumerate(rows, start=1):
        progress(done)
        if not row.raw:
            count(left_out, "the model worded nothing")
            continue
        lines.append({"input": row.raw, "output": row.text, "context": row.context})
    folder.write_lines("corrections.jsonl", lines)
    return left_out
