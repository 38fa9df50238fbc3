"""The folder of signed TUF metadata: reading, signing and writing its files.

    <n>.root.json        who may sign; signed by the root key
    timestamp.json       names the snapshot in force, and when this was signed
    <n>.snapshot.json    names the targets in force
    <n>.targets.json     the models; `custom` says who may run each (shared.assignment)

source: TUF specification 1.0.34, https://theupdateframework.github.io/specification/latest/
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, MetaFile, Root, Signed, Snapshot, Targets, Timestamp
from tuf.api.serialization.json import JSONSerializer

from shared import atomic
from shared.errors import ConfigError, Refused
from shared.messages import MetadataFile
from shared.signed_files import LIMITS_BYTES

LIFE_DAYS = {"root": 3 * 365, "targets": 120, "snapshot": 60, "timestamp": 14}
KEPT = 3  # generations of snapshot and targets: a device may still be fetching the one before
logger = logging.getLogger(__name__)

Role = TypeVar("Role", Targets, Snapshot, Timestamp)
Files = tuple[tuple[MetadataFile, bytes], ...]


@dataclass(frozen=True, slots=True)
class SignedRoles:
    """What is in force; None = missing or damaged."""

    targets: Targets | None
    snapshot: Snapshot | None
    timestamp: Timestamp | None


class MetadataFolder:
    """Its files. Callers see to it that only one writes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def root_version(self) -> int:
        """Version of the newest root, 0 where there is none: they follow one another without gaps."""
        version = 0
        while self._root_path(version + 1).is_file():
            version += 1
        return version

    def root_json(self) -> bytes:
        """The newest root. Raises: OSError."""
        return self._root_path(self.root_version()).read_bytes()

    def root(self) -> Root:
        """The newest root. Raises: ConfigError where it is damaged, OSError."""
        path = self._root_path(self.root_version())
        try:
            root = Metadata[Root].from_bytes(path.read_bytes()).signed
        except RepositoryError as error:
            raise ConfigError(f"{path} is damaged: {error}.", hint="Restore it from a backup.") from None
        keyids: list[Any] = [role.keyids for role in root.roles.values()]  # python-tuf does not look
        if not all(isinstance(ids, list) and ids and isinstance(ids[0], str) for ids in keyids):
            raise ConfigError(f"{path} is damaged: a role has no key.", hint="Restore it from a backup.")
        return root

    def newest(self) -> tuple[bytes, int]:
        """The timestamp and the newest root's version: where these are the same, all files are. Raises: OSError."""
        return (self._folder / "timestamp.json").read_bytes(), self.root_version()

    def files(self, timestamp: bytes, root_version: int) -> Files:
        """Newer roots than the first, then timestamp, snapshot and targets. Raises: ConfigError, OSError."""
        snapshot = f"{_parsed(Timestamp, timestamp).snapshot_meta.version}.snapshot.json"
        snapshot_json = (self._folder / snapshot).read_bytes()
        targets = f"{_parsed(Snapshot, snapshot_json).meta['targets.json'].version}.targets.json"
        files = [(f"{number}.root.json", self._root_path(number).read_bytes()) for number in range(2, root_version + 1)]
        files += [("timestamp.json", timestamp), (snapshot, snapshot_json)]
        files += [(targets, (self._folder / targets).read_bytes())]
        return tuple((MetadataFile(name, len(data), hashlib.sha256(data).hexdigest()), data) for name, data in files)

    def current(self) -> SignedRoles:
        """What is in force, from the timestamp on; None for what is missing or damaged, and is then signed anew."""
        timestamp = self._read(Timestamp, "timestamp.json")
        if timestamp is None:
            return SignedRoles(None, None, None)
        snapshot = self._read(Snapshot, f"{timestamp.snapshot_meta.version}.snapshot.json")
        if snapshot is None:
            return SignedRoles(None, None, timestamp)
        targets = self._read(Targets, f"{snapshot.meta['targets.json'].version}.targets.json")
        return SignedRoles(targets, snapshot, timestamp)

    def is_signed_by(self, root: Root, role: str, signed: Signed) -> bool:
        """Whether what is in force is signed by a key that this root names."""
        metadata: Metadata[Any] = Metadata.from_bytes((self._folder / _name(signed)).read_bytes())
        try:
            root.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
        except RepositoryError:
            return False
        return True

    def write_root(self, root: Root, signers: Sequence[CryptoSigner]) -> None:
        """Sign the root with each key and write it. Raises: OSError."""
        metadata = Metadata(root)
        for signer in signers:
            metadata.sign(signer, append=True)
        atomic.write_bytes(self._root_path(root.version), metadata.to_bytes(JSONSerializer(compact=True)))

    def write(self, signed: Signed, signer: CryptoSigner, now: datetime) -> MetaFile:
        """Sign a role under its next version and write it. Raises: ConfigError, Refused, OSError."""
        role = signed.type
        signed.version = max(int(now.timestamp()), 1 + max([signed.version, *self._versions(role)]))
        signed.expires = now + timedelta(days=LIFE_DAYS[role])
        metadata: Metadata[Any] = Metadata(signed)
        try:
            metadata.sign(signer)
            data = metadata.to_bytes(JSONSerializer(compact=True))
        except RepositoryError:
            raise ConfigError(
                f"The signed {role} hold something that cannot be signed again: their file was changed by hand.",
                hint="Offer a model anew (waycue-server rollout start), or restore the home from a backup.",
            ) from None
        if len(data) > LIMITS_BYTES[role]:
            raise Refused(
                f"The signed {role} would have {len(data)} bytes; devices read at most {LIMITS_BYTES[role]}.",
                hint="Name fewer devices one by one: use a percentage, or finish old rollouts.",
            )
        atomic.write_bytes(self._folder / _name(signed), data)
        return MetaFile(signed.version, len(data), {"sha256": hashlib.sha256(data).hexdigest()})

    def remove_old(self, role: str, used_version: int) -> None:
        """Delete all but the last generations of a role. Raises: OSError."""
        for version in self._versions(role)[:-KEPT]:
            if version < used_version:
                (self._folder / f"{version}.{role}.json").unlink(missing_ok=True)

    def _root_path(self, version: int) -> Path:
        return self._folder / f"{version}.root.json"

    def _versions(self, role: str) -> list[int]:
        return sorted(int(path.name.split(".")[0]) for path in self._folder.glob(f"[0-9]*.{role}.json"))

    def _read(self, kind: type[Role], name: str) -> Role | None:
        try:
            signed = _parsed(kind, (self._folder / name).read_bytes())
            if _name(signed) != name:
                raise ConfigError(f"It says that it is {_name(signed)}.")
            return signed
        except FileNotFoundError:
            return None
        except ConfigError as error:
            logger.warning("%s is signed anew: %s", name, error)
            return None


def _name(signed: Signed) -> str:
    """The file that signed metadata lies in."""
    return "timestamp.json" if signed.type == "timestamp" else f"{signed.version}.{signed.type}.json"


def _parsed(kind: type[Role], data: bytes) -> Role:
    try:
        signed = Metadata.from_bytes(data).signed
    except RepositoryError as error:
        raise ConfigError(f"The signed {kind.type} are damaged: {error}.", hint="waycue-server keys refresh") from None
    if not isinstance(signed, kind):
        raise ConfigError(f"A file of signed {kind.type} says that it is {signed.type}.")
    if isinstance(signed, Snapshot) and "targets.json" not in signed.meta:
        raise ConfigError("The signed snapshot names no targets.", hint="waycue-server keys refresh")
    return signed
