"""Numbers in addresses."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path

RowNumber = Annotated[int, Path(ge=0, le=2**63 - 1)]
"""What numbers a row of a table: no database has a larger one, and asked for it, fails."""
