"""Where this checkout lies, and the reference recordings beside it, which may be absent."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
