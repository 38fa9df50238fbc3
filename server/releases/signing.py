"""Signed releases: which models there are and which devices each is for, as TUF metadata that devices can verify.

    <home>/release/metadata/<n>.root.json        who may sign; signed by the root key
    <home>/release/metadata/timestamp.json       names the snapshot in force, and when this was signed
    <home>/release/metadata/<n>.snapshot.json    names the targets in force
    <home>/release/metadata/<n>.targets.json     the models; `custom` says who may run each (shared.assignment)

Rules kept here:

1. timestamp.json is written last and is the one point where a change takes effect; what it does not lead to was never
   published. A crash before it leaves the old state, and the next call begins again.
2. Versions only rise, and are at least the time in seconds: devices refuse what is older than they have seen, and a
   home restored from a backup must still be able to publish.
3. Signatures are renewed when half of their life is over; a role whose key was replaced is signed anew at once.
4. A clock that is plainly wrong signs nothing: before this software was made, or after the root's end.

source: TUF specification 1.0.34, https://theupdateframework.github.io/specification/latest/
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, MetaFile, Root, Signed, Snapshot, TargetFile, Targets, Timestamp
from tuf.api.serialization.json import JSONSerializer

from server.releases import signing_keys as keys
from shared import assignment, atomic, file_lock
from shared.assignment import Assignment
from shared.clock import Clock
from shared.errors import ConfigError, MessageError, Refused, Transient
from shared.floor import BUILT_UTC_S
from shared.messages import MetadataFile
from shared.signed_files import LIMITS_BYTES

ROLES = ("targets", "snapshot", "timestamp")
"""What the server signs by itself, in the order of writing."""
LIFE_DAYS = {"root": 3 * 365, "targets": 120, "snapshot": 60, "timestamp": 14}
STEPS = ("key_written", "root_written", "targets_written", "snapshot_written", "timestamp_written", "old_removed")
"""The durable steps, as `at` is told of them."""
WARN_DAYS = 90  # before the root ends
KEPT = 3  # generations of snapshot and targets: a device may still be fetching the one before
FOLDER, ROOT_KEY_FOLDER = "release", "root-key"
_SLACK = timedelta(hours=1)
_log = logging.getLogger(__name__)

Role = TypeVar("Role", Targets, Snapshot, Timestamp)
Files = tuple[tuple[MetadataFile, bytes], ...]


@dataclass(frozen=True, slots=True)
class Target:
    """One model, and who may run it."""

    version: str
    manifest_sha256: str
    manifest_size: int
    order: int
    """Of the models that a device may run, the one with the highest order is its model."""
    percent: int = 0
    """Share of all devices, 0 to 100."""
    devices: tuple[str, ...] = ()
    """Names of devices that may run it whatever the percentage."""
    supervised: bool = False
    """Their wearers walk with a sighted companion: a model on trial may guide them."""

    def assignment(self) -> Assignment:
        """Who may run it, as devices will read it."""
        hashed = frozenset(assignment.device_hash(self.version, device) for device in self.devices)
        return Assignment(self.version, self.order, self.percent, hashed, self.supervised)


@dataclass(frozen=True, slots=True)
class RoleStatus:
    """What `keys status` tells of one role."""

    role: str
    keyid: str
    version: int
    expires_utc_s: float
    key_here: bool
    """Whether its private key lies on this machine."""


@dataclass(frozen=True, slots=True)
class _Current:
    """What is in force, as far as it can be read."""

    targets: Targets | None
    snapshot: Snapshot | None
    timestamp: Timestamp | None


class Release:
    """The signed releases of one server. Any thread, any process. Raises: ConfigError where there are none yet.

    at: called after each durable step, for crash tests
    """

    def __init__(self, home: Path, *, clock: Clock, at: Callable[[str], None] = atomic.no_step) -> None:
        self._folder, self._clock, self._at = home / FOLDER, clock, at
        self._metadata, self._keys = self._folder / "metadata", self._folder / "keys"
        self._root_keys = home / ROOT_KEY_FOLDER
        self._lock = threading.RLock()
        self._read: tuple[bytes, int, Files] | None = None
        if not self._root_path(1).is_file():
            raise ConfigError(
                f"{home} has no keys for signed releases.", hint=f"Make them with: waycue-server --home {home} init"
            )

    @classmethod
    def make(cls, home: Path, *, clock: Clock, at: Callable[[str], None] = atomic.no_step) -> Release:
        """Make keys and first metadata where there are none; complete them after an interruption.

        raises: Transient for a clock that is plainly wrong, ConfigError for keys that were lost, OSError
        """
        metadata = home / FOLDER / "metadata"
        atomic.make_dirs(metadata)
        with file_lock.locked(home / FOLDER / ".lock"):
            if not (metadata / "1.root.json").is_file():
                _found(home, _sane_now(clock), at)
        release = cls(home, clock=clock, at=at)
        release.refresh()
        return release

    # --- reading ---

    def root_json(self) -> bytes:
        """The newest root: what a device takes with it when it is enrolled. Raises: OSError."""
        return self._root_path(self._root_version()).read_bytes()

    def files(self) -> Files:
        """All that an offer must name: newer roots first, then timestamp, snapshot and targets in force.

        raises: ConfigError where a file is damaged or missing (refresh mends it), OSError
        """
        with self._lock:
            if self._read is not None and self._read[:2] == self._newest():
                return self._read[2]
            with file_lock.locked(self._folder / ".lock"):
                self._read = (*self._newest(), self._read_files(*self._newest()))
            return self._read[2]

    def _newest(self) -> tuple[bytes, int]:
        return (self._metadata / "timestamp.json").read_bytes(), self._root_version()

    def _read_files(self, stamp: bytes, roots: int) -> Files:
        snapshot = _parsed(Timestamp, stamp).snapshot_meta.version
        snapshot_json = (self._metadata / f"{snapshot}.snapshot.json").read_bytes()
        targets = _parsed(Snapshot, snapshot_json).meta["targets.json"].version
        found = [(name, self._root_path(number).read_bytes()) for number, name in _root_names(roots)]
        found += [("timestamp.json", stamp), (f"{snapshot}.snapshot.json", snapshot_json)]
        found += [(f"{targets}.targets.json", (self._metadata / f"{targets}.targets.json").read_bytes())]
        return tuple((MetadataFile(name, len(data), hashlib.sha256(data).hexdigest()), data) for name, data in found)

    def status(self) -> tuple[RoleStatus, ...]:
        """Root, targets, snapshot, timestamp: their keys, versions and ends. Raises: ConfigError, OSError."""
        root = self._root().signed
        found = [self._status("root", root, root, self._root_keys)]
        current = self._current()
        for role in ROLES:
            signed = getattr(current, role)
            if signed is None:
                raise ConfigError(f"The signed {role} are missing.", hint="Sign them anew: waycue-server keys refresh")
            found.append(self._status(role, root, signed, self._keys))
        return tuple(found)

    def root_keys_here(self) -> list[Path]:
        """Root keys that still lie on this machine."""
        return keys.found(self._root_keys, "root")

    def _status(self, role: str, root: Root, signed: Any, folder: Path) -> RoleStatus:
        keyid = root.roles[role].keyids[0]
        here = keys.path_of(folder, role, keyid).is_file()
        return RoleStatus(role, keyid[: keys.ID_CHARS], signed.version, signed.expires.timestamp(), here)

    # --- publishing ---

    def publish(self, targets: Sequence[Target]) -> bool:
        """Sign that these are the models, and who may run each. Returns whether `files` changed.

        raises: Refused for targets that cannot be told to devices, Transient for a wrong clock, ConfigError, OSError
        """
        wanted = _target_files(targets)
        with self._working() as now:
            return self._renew(now, self._root().signed, wanted)

    def refresh(self, *, force: bool = False) -> bool:
        """Sign anew what is half over, damaged, or signed by a key that was replaced; everything with `force`.

        Returns whether `files` changed. Raises: as `publish`.
        """
        with self._working() as now:
            return self._renew(now, self._root().signed, None, force=force)

    def _renew(self, now: datetime, root: Root, wanted: dict[str, TargetFile] | None, *, force: bool = False) -> bool:
        if root.expires <= now:
            raise Transient(
                f"The release root ended on {root.expires:%Y-%m-%d}, or this machine's clock is wrong.",
                hint="Set the clock, or: waycue-server keys renew-root --root-key FILE",
            )
        current = self._current()
        known = current.targets.targets if current.targets is not None else {}
        targets = known if wanted is None else wanted
        due = frozenset(ROLES) if force or targets != known else self._due(now, root, current)
        return self._sign(now, root, current, due, targets)

    def _due(self, now: datetime, root: Root, current: _Current) -> frozenset[str]:
        """The roles to be signed anew: a role that is due, and those that name it."""
        for index, role in enumerate(ROLES):
            signed = getattr(current, role)
            if signed is None or _ripe(role, signed, now) or not self._signed_by(root, role, signed):
                return frozenset(ROLES[index:])
        return frozenset()

    def _sign(
        self, now: datetime, root: Root, current: _Current, due: frozenset[str], targets: dict[str, TargetFile]
    ) -> bool:
        """Sign the roles that are due and write them from the bottom up, timestamp last."""
        if not due:
            return False
        signers = {role: self._signer(role, root) for role in due}
        if "targets" in due:
            about_targets = self._write(Targets(targets=targets), now, signers)
        else:
            about_targets = current.snapshot.meta["targets.json"]  # type: ignore[union-attr]  # not due: it is there
        if "snapshot" in due:
            about_snapshot = self._write(Snapshot(meta={"targets.json": about_targets}), now, signers)
        else:
            about_snapshot = current.timestamp.snapshot_meta  # type: ignore[union-attr]  # as above
        stamp = Timestamp(snapshot_meta=about_snapshot, unrecognized_fields={"signed_at": int(now.timestamp())})
        stamp.version = current.timestamp.version if current.timestamp is not None else 0
        self._write(stamp, now, signers)
        self._remove_old(about_snapshot.version, about_targets.version)
        return True

    def _write(self, signed: Signed, now: datetime, signers: dict[str, CryptoSigner]) -> MetaFile:
        role = signed.type
        signed.version = max(int(now.timestamp()), 1 + max([signed.version, *self._versions(role)]))
        signed.expires = now + timedelta(days=LIFE_DAYS[role])
        metadata: Metadata[Any] = Metadata(signed)
        try:
            metadata.sign(signers[role])
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
        atomic.write_bytes(self._metadata / _name(signed), data)
        self._at(f"{role}_written")
        return MetaFile(signed.version, len(data), {"sha256": hashlib.sha256(data).hexdigest()})

    def _remove_old(self, snapshot: int, targets: int) -> None:
        for role, used in (("snapshot", snapshot), ("targets", targets)):
            for version in self._versions(role)[:-KEPT]:
                if version < used:
                    (self._metadata / f"{version}.{role}.json").unlink(missing_ok=True)
        self._at("old_removed")

    def _versions(self, role: str) -> list[int]:
        return sorted(int(path.name.split(".")[0]) for path in self._metadata.glob(f"[0-9]*.{role}.json"))

    # --- the root ---

    def renew_root(self, root_key: Path) -> None:
        """Sign the root for another three years. Raises: Refused where this is not its key, ConfigError, OSError."""
        self._new_root(root_key, ())

    def rotate(self, roles: Sequence[str], root_key: Path) -> None:
        """Replace the keys of roles, `root` among them: the old ones count for nothing any more.

        A new root key is written to <home>/root-key. Raises: as `renew_root`.
        """
        unknown = set(roles) - {*ROLES, "root"}
        if unknown or not roles:
            raise Refused(f"There is no role {', '.join(sorted(unknown))}.", hint=f"Use: root, {', '.join(ROLES)}.")
        self._new_root(root_key, roles)

    def _new_root(self, root_key: Path, roles: Sequence[str]) -> None:
        old_signer = keys.load(root_key)
        with self._working() as now:
            root = self._root().signed
            if old_signer.public_key.keyid not in root.roles["root"].keyids:
                raise Refused(f"{root_key} is not the root key of this server.", hint="See: waycue-server keys status")
            signers = [old_signer]
            for role in roles:
                new = keys.make(self._root_keys if role == "root" else self._keys, role)
                self._at("key_written")
                for keyid in tuple(root.roles[role].keyids):
                    root.revoke_key(keyid, role)
                root.add_key(new.public_key, role)
                signers += [new] if role == "root" else []
            root.version += 1
            root.expires = now + timedelta(days=LIFE_DAYS["root"])
            _write_root(self._metadata, root, signers, self._at)
            self._renew(now, root, None)
            self._remove_revoked(root)

    def _remove_revoked(self, root: Root) -> None:
        for role in ROLES:
            for path in keys.found(self._keys, role):
                if path != keys.path_of(self._keys, role, root.roles[role].keyids[0]):
                    path.unlink()
        self._at("old_removed")

    # --- the folder ---

    @contextmanager
    def _working(self) -> Iterator[datetime]:
        """The time, while no other thread or process changes what is in force."""
        now = _sane_now(self._clock)
        with self._lock, file_lock.locked(self._folder / ".lock"):
            yield now

    def _root_path(self, version: int) -> Path:
        return self._metadata / f"{version}.root.json"

    def _root_version(self) -> int:
        return _newest_root(self._metadata)

    def _root(self) -> Metadata[Root]:
        path = self._root_path(self._root_version())
        try:
            found = Metadata[Root].from_bytes(path.read_bytes())
        except RepositoryError as error:
            raise ConfigError(f"{path} is damaged: {error}.", hint="Restore it from a backup.") from None
        keyids: list[Any] = [role.keyids for role in found.signed.roles.values()]  # python-tuf does not look
        if not all(isinstance(ids, list) and ids and isinstance(ids[0], str) for ids in keyids):
            raise ConfigError(f"{path} is damaged: a role has no key.", hint="Restore it from a backup.")
        return found

    def _current(self) -> _Current:
        """What is in force, from the timestamp on; None for what is missing or damaged, and is then signed anew."""
        timestamp = self._open(Timestamp, "timestamp.json")
        if timestamp is None:
            return _Current(None, None, None)
        snapshot = self._open(Snapshot, f"{timestamp.snapshot_meta.version}.snapshot.json")
        if snapshot is None:
            return _Current(None, None, timestamp)
        targets = self._open(Targets, f"{snapshot.meta['targets.json'].version}.targets.json")
        return _Current(targets, snapshot, timestamp)

    def _open(self, kind: type[Role], name: str) -> Role | None:
        try:
            found = _parsed(kind, (self._metadata / name).read_bytes())
            if _name(found) != name:
                raise ConfigError(f"It says that it is {_name(found)}.")
            return found
        except FileNotFoundError:
            return None
        except ConfigError as error:
            _log.warning("%s is signed anew: %s", name, error)
            return None

    def _signed_by(self, root: Root, role: str, signed: Signed) -> bool:
        """Whether what is in force is signed by a key that the root still names."""
        metadata: Metadata[Any] = Metadata.from_bytes((self._metadata / _name(signed)).read_bytes())
        try:
            root.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
        except RepositoryError:
            return False
        return True

    def _signer(self, role: str, root: Root) -> CryptoSigner:
        signer = keys.load(keys.path_of(self._keys, role, root.roles[role].keyids[0]))
        if signer.public_key.keyid not in root.roles[role].keyids:
            raise ConfigError(f"The {role} key is not the one that the root names.", hint="Rotate it: keys rotate")
        return signer


def release_root(home: Path) -> bytes:
    """The root that a device takes with it when it is enrolled. Raises: ConfigError, OSError."""
    metadata = home / FOLDER / "metadata"
    version = _newest_root(metadata)
    if not version:
        raise ConfigError(f"{home} has no signed releases.", hint=f"Make them: waycue-server --home {home} init")
    return (metadata / f"{version}.root.json").read_bytes()


def _newest_root(metadata: Path) -> int:
    """Its version, 0 where there is none: they follow one another without gaps."""
    version = 0
    while (metadata / f"{version + 1}.root.json").is_file():
        version += 1
    return version


def _found(home: Path, now: datetime, at: Callable[[str], None]) -> None:
    """Keys and the first root. Keys that an interrupted attempt left are used."""
    root = Root(version=1, expires=now + timedelta(days=LIFE_DAYS["root"]), consistent_snapshot=True)
    root_folder = home / ROOT_KEY_FOLDER
    signers = {}
    for role in ("root", *ROLES):
        folder = root_folder if role == "root" else home / FOLDER / "keys"
        left = keys.found(folder, role)
        signers[role] = keys.load(left[0]) if left else keys.make(folder, role)
        at("key_written")
        root.add_key(signers[role].public_key, role)
    atomic.write_bytes(root_folder / keys.NOTE, keys.NOTE_TEXT.encode(), mode=0o600)
    _write_root(home / FOLDER / "metadata", root, [signers["root"]], at)


def _write_root(folder: Path, root: Root, signers: Sequence[CryptoSigner], at: Callable[[str], None]) -> None:
    metadata = Metadata(root)
    for signer in signers:
        metadata.sign(signer, append=True)
    atomic.write_bytes(folder / f"{root.version}.root.json", metadata.to_bytes(JSONSerializer(compact=True)))
    at("root_written")


def _target_files(targets: Sequence[Target]) -> dict[str, TargetFile]:
    """Targets as TUF has them. Raises: Refused."""
    found = {}
    for target in targets:
        path, custom = assignment.target_path(target.version), assignment.to_custom(target.assignment())
        if path in found:
            raise Refused(f"Model {target.version} is named twice in one release.")
        try:
            assignment.read(path, custom)
        except MessageError as error:
            raise Refused(f"No device would accept this release: {error}") from None
        found[path] = TargetFile(
            target.manifest_size, {"sha256": target.manifest_sha256}, path, unrecognized_fields={"custom": custom}
        )
    return found


def _name(signed: Signed) -> str:
    """The file that signed metadata lies in."""
    return "timestamp.json" if signed.type == "timestamp" else f"{signed.version}.{signed.type}.json"


def _ripe(role: str, signed: Signed, now: datetime) -> bool:
    """Whether half of its life is over, or it was signed by a clock that was ahead."""
    life = timedelta(days=LIFE_DAYS[role])
    return not life / 2 <= signed.expires - now <= life + _SLACK


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


def _root_names(newest: int) -> Iterator[tuple[int, str]]:
    return ((number, f"{number}.root.json") for number in range(2, newest + 1))


def _sane_now(clock: Clock) -> datetime:
    now_s = clock.utc_s()
    if now_s < BUILT_UTC_S:
        raise Transient(
            f"This machine's clock says {datetime.fromtimestamp(now_s, UTC):%Y-%m-%d}, before this software was made.",
            hint="Nothing is signed until it is set: look at `timedatectl`.",
        )
    return datetime.fromtimestamp(int(now_s), UTC)
