"""What was worded → what should have been said, for a model that corrects wordings. Text only.

corrections.jsonl       {"input", "output", "context"}
"""

from __future__ import annotations

from collections.abc import Iterable

from exporters.datasets.folder import ExportFolder
from exporters.datasets.rows import LeftOut, Row


def write(rows: Iterable[Row], folder: ExportFolder) -> LeftOut:
    """Returns what was left out: a moment at which the model worded nothing has no input. Raises: OSError."""
    lines, left_out = [], LeftOut()
    for row in rows:
        if row.raw:
            lines.append({"input": row.raw, "output": row.text, "context": row.context})
        else:
            left_out["the model worded nothing"] += 1
    folder.write_lines("corrections.jsonl", lines)
    return left_out
