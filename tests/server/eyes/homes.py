"""Homes with eyes, and what the tests about them share."""

from __future__ import annotations

from pathlib import Path

from server.eyes import packaged


def add(home: Path, brought: Path | None = None) -> bool:
    """Whether they are new."""
    return packaged.add(home, brought=brought, progress=lambda text: None)[1]


def files(home: Path) -> dict[str, bytes]:
    """All that lies in it but the lock."""
    return {
        path.relative_to(home).as_posix(): path.read_bytes()
        for path in sorted(home.rglob("*"))
        if path.is_file() and path.name != ".adding.lock"
    }


def stand_in(folder: Path, script: str) -> None:
    """An `npm` that does something else."""
    folder.mkdir()
    (folder / "npm").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "npm").chmod(0o755)
