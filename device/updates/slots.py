"""The models on a device's disk.

    <state>/models/a/, b/       two slots, each a whole bundle or absent
    <state>/models/current      link to the slot in use
    <state>/models/previous     link to the slot in use before it
    <state>/models/bases/       graphs of a base, by SHA-256: what a night.delta is about (device.updates.base_files)
    <state>/models/incoming/    the bundle that is being fetched (device.updates.staging)
    <state>/models/update.json  where the update stands (device.updates.state_file)
    <state>/models/denied.json  versions that are not installed again

Promise: once `current` names a whole bundle, it does so at every moment after, whenever the power goes. The slot in use
is never written to; `previous` stays loadable until a newer model, verified and self-tested, takes its slot.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from device.updates.state import ModelIdentity
from shared import atomic, bundle
from shared.errors import BundleError

FOLDER, INCOMING, BASES, CURRENT, PREVIOUS = "models", "incoming", "bases", "current", "previous"
SLOTS = ("a", "b")
DAMAGED = "damaged"
"""The version of a model whose manifest cannot be read."""


def current_slot(state_dir: Path) -> Path | None:
    """The folder of the model in use, or None before the first one. Raises nothing."""
    return _slot(state_dir / FOLDER, CURRENT)


def previous_slot(state_dir: Path) -> Path | None:
    """The folder of the model before the one in use, or None."""
    return _slot(state_dir / FOLDER, PREVIOUS)


def _slot(models: Path, name: str) -> Path | None:
    link = models / name
    try:
        folder = models / link.readlink()
    except OSError:
        return None
    return folder if folder.name in SLOTS and (folder / bundle.MANIFEST_NAME).is_file() else None


def identity(folder: Path | None) -> ModelIdentity:
    """Which model lies in a folder."""
    if folder is None:
        return ModelIdentity()
    try:
        data = bundle.read_manifest_bytes(folder)
    except BundleError:
        return ModelIdentity(DAMAGED)
    digest = hashlib.sha256(data).hexdigest()
    try:
        return ModelIdentity(bundle.parse_manifest(data).version, digest)
    except BundleError:
        return ModelIdentity(DAMAGED, digest)


class ModelSlots:
    """The two moves that change which model is in use. One thread, one process at a time."""

    def __init__(self, state_dir: Path, crash_point: atomic.Step) -> None:
        self.models = state_dir / FOLDER
        self.incoming, self.bases = self.models / INCOMING, self.models / BASES
        self._crash_point = crash_point
        atomic.make_dirs(self.models)
        atomic.remove_leftovers(self.models)

    @property
    def current(self) -> Path | None:
        return _slot(self.models, CURRENT)

    @property
    def previous(self) -> Path | None:
        return _slot(self.models, PREVIOUS)

    @property
    def folders(self) -> list[Path]:
        """Both slots, there or not."""
        return [self.models / name for name in SLOTS]

    def activate(self, manifest_sha256: str) -> None:
        """Put the fetched bundle in use. May be repeated after an interruption at any point.

        Raises: BundleError where the bundle is nowhere any more; OSError.
        """
        in_use = self.current
        if in_use is not None and identity(in_use).manifest_sha256 == manifest_sha256:
            return
        free = self.models / (SLOTS[1] if in_use is not None and in_use.name == SLOTS[0] else SLOTS[0])
        if identity(self.incoming).manifest_sha256 == manifest_sha256:
            self._forget_previous()
            atomic.remove_tree(free)
            self._crash_point("activate: slot emptied")
            atomic.move(self.incoming, free)
            self._crash_point("activate: moved into slot")
        if identity(free).manifest_sha256 != manifest_sha256:
            raise BundleError("The model that was ready is no longer on disk.", hint="It is fetched again.")
        if in_use is not None:
            atomic.point(self.models / PREVIOUS, in_use.name)
            self._crash_point("activate: previous set")
        atomic.point(self.models / CURRENT, free.name)
        self._crash_point("activate: current set")

    def roll_back(self) -> None:
        """Put the previous model back in use. May be repeated after an interruption at any point. Raises: OSError."""
        before = self.previous
        if before is not None:
            atomic.point(self.models / CURRENT, before.name)
            self._crash_point("roll back: current set")
        self._forget_previous()
        self._crash_point("roll back: previous forgotten")

    def _forget_previous(self) -> None:
        (self.models / PREVIOUS).unlink(missing_ok=True)
        atomic.fsync_dir(self.models)
