"""How changes are told."""

from __future__ import annotations

from collections.abc import Callable

Say = Callable[[str], None]
"""Called with one line for each change: what was done, or with `dry_run` what would be."""
