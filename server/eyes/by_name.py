"""Backbones that an administrator named: what is kept of them in the server's home, and whether they are the same.

    eyes/<key>/backbone.json    which backbone it is: its name, licence and the SHA-256 of its weights
    eyes/<key>/model/           what was trained on it (server.learn.eyes_by_name), without the backbone's own weights

The weights stay in the hub's cache or in the folder that was named. What was trained on them is used with those very
weights alone: another backbone under the same name is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from server.eyes import hub
from server.eyes.backbone import Backbone
from shared import strict
from shared.errors import BundleError, ConfigError, MessageError

FOLDER, RECORD_FILE, MODEL_FOLDER = Path("eyes"), "backbone.json", "model"
MOST_GRID = 20
"""Tokens on a side. A picture of more takes a device too long, and the decoder has room for two of this size."""
ADD = "Add them anew: waycue-server models add eyes --backbone NAME"
_RECORD_MOST = 64 * 1024


@dataclass(frozen=True, slots=True)
class BackboneRecord:
    """`backbone.json`: the backbone that the model beside it stands on."""

    name: strict.Text
    """On the hub, or an absolute folder."""
    licence: strict.Text
    """As its model card states it; "" = not stated."""
    weights_sha256: strict.Sha256
    """Of the network as it was loaded."""
    size_px: Annotated[int, Meta(ge=hub.SMALLEST_PX, le=hub.LARGEST_PX)]
    """Side of its square pictures."""
    steps: strict.Count
    """Of the training on it."""


def load(name: str, *, size_px: int | None = None) -> Backbone:
    """A backbone whose grid a tower can stand on: even, and of at most MOST_GRID tokens a side.

    size_px: side of its pictures; by default what its checkpoint says, made smaller where the grid asks for that
    raises: ConfigError where it cannot be had or does not fit
    """
    found = hub.load(name, size_px=size_px)
    grid, size = min(found.grid, MOST_GRID) // 2 * 2, found.preprocessing.size_px
    if found.grid != grid and grid and size_px is None:
        size = size // found.grid * grid
        found = hub.load(name, size_px=size)
    if found.grid != grid or not grid:
        fitting = size // found.grid * max(2, grid)
        raise ConfigError(
            f"{name!r} makes {found.grid} × {found.grid} tokens of a picture of {size} px. "
            f"A tower needs an even number on a side, at most {MOST_GRID}.",
            hint=f"Use another size, for example --size {fitting}.",
        )
    return found


def fingerprint(backbone: Backbone) -> str:
    """Hex SHA-256 over its weights and how pictures reach it; what its parts are called does not count."""
    state = {**backbone.state_dict(), **dict(backbone.named_buffers(recurse=False))}
    parts = []
    for weight in state.values():
        digest = hashlib.sha256(f"{weight.dtype} {tuple(weight.shape)}\n".encode())
        digest.update(weight.detach().cpu().contiguous().numpy().tobytes())
        parts.append(digest.hexdigest())
    form = [backbone.preprocessing.to_dict(), backbone.grid, backbone.dim]
    return hashlib.sha256(json.dumps([form, sorted(parts)]).encode()).hexdigest()


def resolved(name: str) -> str:
    """A folder's absolute path, a hub name as it is: the same wherever the server is started."""
    return os.path.realpath(name) if Path(name).exists() else name


def place(home: Path, name: str) -> Path:
    """Where what stands on a backbone is kept. name: as `resolved` gives it"""
    return home / FOLDER / f"{short(name)}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def short(name: str) -> str:
    """A plain name for versions and folders; of a folder's path only the last part: the rest is this machine's own."""
    said = Path(name).name if Path(name).is_absolute() else name
    return re.sub(r"[^A-Za-z0-9]+", "-", said).strip("-").lower()[-40:].strip("-")


def kept(folder: Path) -> BackboneRecord | None:
    """The record in a folder of `place`, None where nothing is. Raises: BundleError where it is damaged; OSError."""
    if not folder.exists():
        return None
    try:
        return strict.decode(BackboneRecord, (folder / RECORD_FILE).read_bytes(), limit=_RECORD_MOST)
    except (FileNotFoundError, NotADirectoryError, MessageError) as error:
        raise BundleError(f"the eyes in {folder} are damaged ({error}).", hint=ADD) from error


def opened(home: Path, name: str) -> tuple[Backbone, Path]:
    """The backbone of a setting, and the folder of the model that was trained on it.

    raises: ConfigError where it was not added, is gone, or is another than it was; BundleError where the record is
        damaged; OSError
    """
    places = [place(home, each) for each in (resolved(name), name, os.path.realpath(name))]
    folder = next((each for each in places if each.exists()), places[0])
    add = f"waycue-server models add eyes --backbone {name}"
    record = kept(folder)
    if record is None:
        raise ConfigError(f"Nothing was trained on the backbone {name!r} yet.", hint=f"Add it: {add}")
    if Path(record.name).is_absolute() and not Path(record.name).is_dir():
        raise ConfigError(
            f"The backbone's folder {record.name} is gone; the model that stands on it cannot see without it.",
            hint='Bring it back, or set learn.eyes to "packaged" or "none".',
        )
    backbone = load(record.name, size_px=record.size_px)
    if fingerprint(backbone) != record.weights_sha256:
        raise ConfigError(
            f"{record.name!r} is another backbone than the one that was added: its weights or its way of taking "
            "pictures are others.",
            hint=f"Bring the old one back, or train on the new one: {add}",
        )
    return backbone, folder / MODEL_FOLDER
