"""The models on a device's disk.

    <state>/models/a/, b/       two slots, each a whole bundle or absent
    <state>/models/current      link to the slot in use
    <state>/models/previous     link to the slot in use before it
    <state>/models/incoming/    the bundle that is being fetched; NAME.part = half-written
    <state>/models/update.json  where the update stands (device.updates.updater)
    <state>/models/denied.json  versions that are not installed again

Promise: once `current` names a whole bundle, it does so at every moment after, whenever the power goes. The slot in use
is never written to; `previous` stays loadable until a newer model, verified and self-tested, takes its slot.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from device.updates.state import Identity
from shared import atomic, bundle, file_lock
from shared.bundle import FileEntry
from shared.errors import BundleError, ConfigError

FOLDER, INCOMING, CURRENT, PREVIOUS = "models", "incoming", "current", "previous"
SLOTS = ("a", "b")
COPY_BYTES = 1024 * 1024

Checkpoint = Callable[[str], None]
"""Called with the name of each durable step just done. Tests end the process there."""


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


def identity(folder: Path | None) -> Identity:
    """Which model lies in a folder. One with an unreadable manifest has the version "damaged"."""
    if folder is None:
        return Identity()
    try:
        data = bundle.read_manifest_bytes(folder)
    except BundleError:
        return Identity("damaged")
    digest = hashlib.sha256(data).hexdigest()
    try:
        return Identity(bundle.parse_manifest(data).version, digest)
    except BundleError:
        return Identity("damaged", digest)


def problem_of(folder: Path | None) -> str:
    """Why the bundle in a folder cannot be used, "" = it is whole."""
    if folder is None:
        return "there is no model"
    try:
        bundle.verify(folder)
    except BundleError as error:
        return str(error)
    return ""


def wrong_files(folder: Path) -> dict[str, str]:
    """Path → what is wrong with it. Raises: BundleError for a manifest that cannot be read."""
    bad = {}
    for entry in bundle.read_manifest(folder).files:
        try:
            bundle.check_file(folder, entry)
        except BundleError as error:
            bad[entry.path] = str(error)
    return bad


def lock(path: Path) -> BinaryIO:
    """Held as long as the file is open. Raises: ConfigError where another process holds it, OSError."""
    hint = "Stop it, or name another folder with --state."
    return file_lock.acquire(path, busy=ConfigError(f"Another waycue-device uses {path.parent.parent}.", hint=hint))


class Slots:
    """The folders, and the two moves that change which model is in use. One thread, one process at a time."""

    def __init__(self, state_dir: Path, at: Checkpoint) -> None:
        self.models = state_dir / FOLDER
        self.incoming = self.models / INCOMING
        self._at = at
        atomic.make_dirs(self.models)
        for doomed in self.models.glob("*.gone"):  # a removal that was interrupted
            atomic.remove_tree(doomed)

    @property
    def current(self) -> Path | None:
        return _slot(self.models, CURRENT)

    @property
    def previous(self) -> Path | None:
        return _slot(self.models, PREVIOUS)

    def activate(self, manifest_sha256: str) -> None:
        """Put the incoming bundle in use. May be repeated after an interruption at any point.

        Raises: BundleError where the bundle is nowhere any more; OSError.
        """
        in_use = self.current
        if in_use is not None and identity(in_use).manifest_sha256 == manifest_sha256:
            return
        free = self.models / (SLOTS[1] if in_use is not None and in_use.name == SLOTS[0] else SLOTS[0])
        if identity(self.incoming).manifest_sha256 == manifest_sha256:
            self._forget(PREVIOUS)
            atomic.remove_tree(free)
            self._at("activate: slot emptied")
            atomic.move(self.incoming, free)
            self._at("activate: moved into slot")
        if identity(free).manifest_sha256 != manifest_sha256:
            raise BundleError("The model that was ready is no longer on disk.", hint="It is fetched again.")
        if in_use is not None:
            atomic.point(self.models / PREVIOUS, in_use.name)
            self._at("activate: previous set")
        atomic.point(self.models / CURRENT, free.name)
        self._at("activate: current set")

    def roll_back(self) -> None:
        """Put the previous model back in use. May be repeated after an interruption at any point. Raises: OSError."""
        before = self.previous
        if before is not None:
            atomic.point(self.models / CURRENT, before.name)
            self._at("roll back: current set")
        self._forget(PREVIOUS)
        self._at("roll back: previous forgotten")

    def _forget(self, name: str) -> None:
        (self.models / name).unlink(missing_ok=True)
        atomic.fsync_dir(self.models)

    def clear_incoming(self) -> None:
        atomic.remove_tree(self.incoming)
        self._at("incoming cleared")

    def part(self, path: str) -> Path:
        """The half-written file of a path."""
        final = self.incoming / path
        return final.with_name(final.name + atomic.TEMP_SUFFIX)

    def survey(
        self, entries: Iterable[FileEntry], resumable: frozenset[str], *, prune: bool
    ) -> tuple[set[str], dict[str, int]]:
        """Which of the wanted files are whole, and how long the half-written ones are. A wrong file is removed; with
        `prune`, so is every file that nobody wants. Raises: OSError."""
        entries = list(entries)
        if prune and self.incoming.exists():
            self._prune([entry.path for entry in entries])
        whole, partial = set(), {}
        for entry in entries:
            final, part = self.incoming / entry.path, self.part(entry.path)
            if final.is_file() and atomic.sha256_file(final) == entry.sha256:
                whole.add(entry.path)
            else:
                final.unlink(missing_ok=True)
            if entry.path in resumable and entry.path not in whole and part.is_file():
                partial[entry.path] = part.stat().st_size
            else:
                part.unlink(missing_ok=True)
        return whole, partial

    def _prune(self, paths: Iterable[str]) -> None:
        keep = {self.incoming / bundle.MANIFEST_NAME}
        for path in paths:
            keep |= {self.incoming / path, self.part(path)}
        folders = {file.parent for file in keep}
        for found in sorted(self.incoming.rglob("*"), reverse=True):
            if found.is_dir():
                if found not in folders:
                    found.rmdir()
            elif found not in keep:
                found.unlink()

    def copy(self, entry: FileEntry, sources: Iterable[Path]) -> bool:
        """Copy a file from the first source whose bytes are right. Raises: OSError from writing."""
        for source in sources:
            try:
                with atomic.writing(self.incoming / entry.path) as file:
                    digest = hashlib.sha256()
                    for block in _blocks(source):
                        digest.update(block)
                        file.write(block)
                    if digest.hexdigest() != entry.sha256:
                        raise BundleError(f"{source} is damaged.")
            except BundleError:
                continue
            return True
        return False


def holders(folders: Iterable[Path]) -> dict[str, list[Path]]:
    """SHA-256 → files that claim that content, in whole bundles. The claim is checked when a file is copied."""
    found: dict[str, list[Path]] = {}
    for folder in folders:
        try:
            data = bundle.read_manifest_bytes(folder)
            entries = bundle.parse_manifest(data).files
        except BundleError:
            continue
        found.setdefault(hashlib.sha256(data).hexdigest(), []).append(folder / bundle.MANIFEST_NAME)
        for entry in entries:
            found.setdefault(entry.sha256, []).append(folder / entry.path)
    return found


def _blocks(path: Path) -> Iterator[bytes]:
    try:
        with open(path, "rb") as file:
            while block := file.read(COPY_BYTES):
                yield block
    except OSError as error:
        raise BundleError(f"{path} cannot be read ({error.strerror}).") from None
