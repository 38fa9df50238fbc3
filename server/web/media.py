"""GET /media/{frames|audio|clips}/{file}: the dataset's own files, by content hash, with byte ranges.

A file's name is its SHA-256, so a name that matches the pattern can not leave the folder. Links are not followed: only
regular files that lie in the dataset itself are served. A browser keeps no copy: what a wearer has had erased would
lie in its cache for as long as that holds.
"""

from __future__ import annotations

import re
from pathlib import Path

from fastapi import APIRouter, HTTPException
from fastapi.responses import FileResponse

from server.dataset.blobs import Blobs

TYPES = {"frames": (".jpg", "image/jpeg"), "audio": (".wav", "audio/wav"), "clips": (".mp4", "video/mp4")}
_NAME = re.compile(r"([0-9a-f]{64})(\.[a-z0-9]{3})\Z")


def find(blobs: Blobs, kind: str, name: str) -> Path | None:
    """A file with the blob of that kind and name, or None where there is no such regular file."""
    matched = _NAME.match(name)
    if kind not in TYPES or matched is None or matched.group(2) != TYPES[kind][0]:
        return None
    path = blobs.local(f"{kind}/{name}")
    if not path.is_file() or path.resolve() != path.parents[1].resolve() / kind / name:
        return None
    return path


def router(blobs: Blobs) -> APIRouter:
    """The route over a dataset's blobs."""
    routes = APIRouter()

    @routes.get("/media/{kind}/{name}", response_class=FileResponse)
    @routes.head("/media/{kind}/{name}", response_class=FileResponse, include_in_schema=False)
    def media(kind: str, name: str) -> FileResponse:
        """A picture, a sound or a clip of the dataset."""
        path = find(blobs, kind, name)
        if path is None:
            raise HTTPException(404, "There is no such file in the dataset.")
        return FileResponse(path, media_type=TYPES[kind][1])  # no-store, as server.web.guard adds

    return routes
