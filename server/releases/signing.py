"""Signed releases: which models there are and which devices each is for, as TUF metadata that devices can verify.

    <home>/release/metadata/    the signed files (server.releases.metadata_folder)
    <home>/release/keys/        the keys that sign them (server.releases.signing_keys)

Rules kept here:

1. timestamp.json is written last and is the one point where a change takes effect; what it does not lead to was never
   published. A crash before it leaves the old state, and the next call begins again.
2. Versions only rise, and are at least the time in seconds: devices refuse what is older than they have seen, and a
   home restored from a backup must still be able to publish.
3. Signatures are renewed when half of their life is over; a role whose key was replaced is signed anew at once.
4. A clock that is plainly wrong signs nothing: before this software was made, or after the root's end.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import MetaFile, Root, Signed, Snapshot, TargetFile, Targets, Timestamp

from server.releases import signing_keys as keys
from server.releases.metadata_folder import LIFE_DAYS, Files, MetadataFolder, SignedRoles
from server.releases.rollout_rules import Grant
from shared import assignment, atomic, file_lock
from shared.atomic import Step, no_step
from shared.clock import Clock
from shared.errors import ConfigError, MessageError, Refused, Transient
from shared.floor import BUILT_UTC_S

ROLES = ("targets", "snapshot", "timestamp")
"""What the server signs by itself, in the order of writing."""
CRASH_POINTS = (
    "key_written", "root_written", "targets_written", "snapshot_written", "timestamp_written", "old_removed",
)  # fmt: skip
WARN_DAYS = 90  # before the root ends
FOLDER, ROOT_KEY_FOLDER = "release", "root-key"
_SLACK = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class ReleaseTarget:
    """One model, and who may run it."""

    grant: Grant
    manifest_sha256: str
    manifest_size: int


@dataclass(frozen=True, slots=True)
class RoleStatus:
    """One role, for `keys status`."""

    role: str
    keyid: str
    version: int
    expires_utc_s: float
    key_here: bool
    """Whether its private key lies on this machine."""


class Release:
    """The signed releases of one server. Any thread, any process. Raises: ConfigError where there are none yet.

    crash_point: called after each durable step (CRASH_POINTS), for crash tests
    """

    def __init__(self, home: Path, *, clock: Clock, crash_point: Step = no_step) -> None:
        self._folder, self._clock, self._crash_point = home / FOLDER, clock, crash_point
        self._metadata, self._keys = MetadataFolder(self._folder / "metadata"), self._folder / "keys"
        self._root_keys = home / ROOT_KEY_FOLDER
        self._lock = threading.RLock()
        self._cached: tuple[tuple[bytes, int], Files] | None = None
        if not self._metadata.root_version():
            raise ConfigError(
                f"{home} has no keys for signed releases.", hint=f"Make them with: waycue-server --home {home} init"
            )

    @classmethod
    def make(cls, home: Path, *, clock: Clock, crash_point: Step = no_step) -> Release:
        """Make keys and first metadata where there are none; complete them after an interruption.

        raises: Transient for a clock that is plainly wrong, ConfigError for keys that were lost, OSError
        """
        folder = home / FOLDER
        atomic.make_dirs(folder / "metadata")
        with file_lock.locked(folder / ".lock"):
            if not MetadataFolder(folder / "metadata").root_version():
                _make_root(home, _sane_now(clock), crash_point)
        release = cls(home, clock=clock, crash_point=crash_point)
        release.refresh()
        return release

    # --- reading ---

    def root_json(self) -> bytes:
        """The newest root: what a device takes with it when it is enrolled. Raises: OSError."""
        return self._metadata.root_json()

    def files(self) -> Files:
        """All that an offer must name: newer roots first, then timestamp, snapshot and targets in force.

        raises: ConfigError where a file is damaged or missing (refresh repairs it), OSError
        """
        with self._lock:
            if self._cached is None or self._cached[0] != self._metadata.newest():
                with file_lock.locked(self._folder / ".lock"):
                    newest = self._metadata.newest()
                    self._cached = newest, self._metadata.files(*newest)
            return self._cached[1]

    def status(self) -> tuple[RoleStatus, ...]:
        """Root, targets, snapshot, timestamp: their keys, versions and ends. Raises: ConfigError, OSError."""
        root, current = self._metadata.root(), self._metadata.current()
        roles = [self._status("root", root, root, self._root_keys)]
        for role in ROLES:
            signed = getattr(current, role)
            if signed is None:
                raise ConfigError(f"The signed {role} are missing.", hint="Sign them anew: waycue-server keys refresh")
            roles.append(self._status(role, root, signed, self._keys))
        return tuple(roles)

    def root_keys_here(self) -> list[Path]:
        """Root keys that still lie on this machine."""
        return keys.list_keys(self._root_keys, "root")

    def _status(self, role: str, root: Root, signed: Signed, folder: Path) -> RoleStatus:
        keyid = root.roles[role].keyids[0]
        here = keys.path_of(folder, role, keyid).is_file()
        return RoleStatus(role, keyid[: keys.ID_CHARS], signed.version, signed.expires.timestamp(), here)

    # --- publishing ---

    def publish(self, targets: Sequence[ReleaseTarget]) -> bool:
        """Sign that these are the models, and who may run each. Returns whether `files` changed.

        raises: Refused for targets that devices would not accept, Transient for a wrong clock, ConfigError, OSError
        """
        target_files = _target_files(targets)
        with self._signing() as now:
            return self._renew(now, self._metadata.root(), target_files)

    def refresh(self, *, force: bool = False) -> bool:
        """Sign anew what is half over, damaged, or signed by a key that was replaced; everything with `force`.

        Returns whether `files` changed. Raises: as `publish`.
        """
        with self._signing() as now:
            return self._renew(now, self._metadata.root(), None, force=force)

    def _renew(self, now: datetime, root: Root, targets: dict[str, TargetFile] | None, *, force: bool = False) -> bool:
        """targets: None = those in force."""
        if root.expires <= now:
            raise Transient(
                f"The release root ended on {root.expires:%Y-%m-%d}, or this machine's clock is wrong.",
                hint="Set the clock, or: waycue-server keys renew-root --root-key FILE",
            )
        current = self._metadata.current()
        in_force = current.targets.targets if current.targets is not None else {}
        targets = in_force if targets is None else targets
        due = ROLES if force or targets != in_force else self._due(now, root, current)
        if due:
            self._sign(now, {role: self._signer(role, root) for role in due}, current, targets)
        return bool(due)

    def _due(self, now: datetime, root: Root, current: SignedRoles) -> tuple[str, ...]:
        """The roles to be signed anew: a role that is due, and those that name it."""
        for index, role in enumerate(ROLES):
            signed = getattr(current, role)
            if signed is None or _is_due(role, signed, now) or not self._metadata.is_signed_by(root, role, signed):
                return ROLES[index:]
        return ()

    def _sign(
        self, now: datetime, signers: dict[str, CryptoSigner], current: SignedRoles, targets: dict[str, TargetFile]
    ) -> None:
        """Sign the roles that have a signer and write them from the bottom up, timestamp last."""

        def write(signed: Targets | Snapshot | Timestamp) -> MetaFile:
            written = self._metadata.write(signed, signers[signed.type], now)
            self._crash_point(f"{signed.type}_written")
            return written

        if "targets" in signers:
            about_targets = write(Targets(targets=targets))
        else:
            about_targets = current.snapshot.meta["targets.json"]  # type: ignore[union-attr]  # not due: it is there
        if "snapshot" in signers:
            about_snapshot = write(Snapshot(meta={"targets.json": about_targets}))
        else:
            about_snapshot = current.timestamp.snapshot_meta  # type: ignore[union-attr]  # as above
        stamp = Timestamp(snapshot_meta=about_snapshot, unrecognized_fields={"signed_at": int(now.timestamp())})
        stamp.version = current.timestamp.version if current.timestamp is not None else 0
        write(stamp)
        self._metadata.remove_old("snapshot", about_snapshot.version)
        self._metadata.remove_old("targets", about_targets.version)
        self._crash_point("old_removed")

    def _signer(self, role: str, root: Root) -> CryptoSigner:
        signer = keys.load(keys.path_of(self._keys, role, root.roles[role].keyids[0]))
        if signer.public_key.keyid not in root.roles[role].keyids:
            raise ConfigError(f"The {role} key is not the one that the root names.", hint="Rotate it: keys rotate")
        return signer

    @contextmanager
    def _signing(self) -> Iterator[datetime]:
        """The time, while no other thread or process changes what is in force."""
        now = _sane_now(self._clock)
        with self._lock, file_lock.locked(self._folder / ".lock"):
            yield now

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
        with self._signing() as now:
            root = self._metadata.root()
            if old_signer.public_key.keyid not in root.roles["root"].keyids:
                raise Refused(f"{root_key} is not the root key of this server.", hint="See: waycue-server keys status")
            signers = [old_signer]
            for role in roles:
                new = keys.make(self._root_keys if role == "root" else self._keys, role)
                self._crash_point("key_written")
                for keyid in tuple(root.roles[role].keyids):
                    root.revoke_key(keyid, role)
                root.add_key(new.public_key, role)
                signers += [new] if role == "root" else []
            root.version += 1
            root.expires = now + timedelta(days=LIFE_DAYS["root"])
            self._metadata.write_root(root, signers)
            self._crash_point("root_written")
            self._renew(now, root, None)
            self._remove_revoked(root)

    def _remove_revoked(self, root: Root) -> None:
        for role in ROLES:
            for path in keys.list_keys(self._keys, role):
                if path != keys.path_of(self._keys, role, root.roles[role].keyids[0]):
                    path.unlink()
        self._crash_point("old_removed")


def _make_root(home: Path, now: datetime, crash_point: Step) -> None:
    """Make keys and the first root. Keys that an interrupted attempt left are used."""
    root = Root(version=1, expires=now + timedelta(days=LIFE_DAYS["root"]), consistent_snapshot=True)
    root_folder = home / ROOT_KEY_FOLDER
    signers = {}
    for role in ("root", *ROLES):
        folder = root_folder if role == "root" else home / FOLDER / "keys"
        left = keys.list_keys(folder, role)
        signers[role] = keys.load(left[0]) if left else keys.make(folder, role)
        crash_point("key_written")
        root.add_key(signers[role].public_key, role)
    atomic.write_bytes(root_folder / keys.NOTE, keys.NOTE_TEXT.encode(), mode=0o600)
    MetadataFolder(home / FOLDER / "metadata").write_root(root, [signers["root"]])
    crash_point("root_written")


def _target_files(targets: Sequence[ReleaseTarget]) -> dict[str, TargetFile]:
    """Targets as TUF has them. Raises: Refused."""
    files: dict[str, TargetFile] = {}
    for target in targets:
        version = target.grant.version
        path, custom = assignment.target_path(version), assignment.to_custom(target.grant.assignment())
        if path in files:
            raise Refused(f"Model {version} is named twice in one release.")
        try:
            assignment.read(path, custom)
        except MessageError as error:
            raise Refused(f"No device would accept this release: {error}") from None
        hashes, more = {"sha256": target.manifest_sha256}, {"custom": custom}
        files[path] = TargetFile(target.manifest_size, hashes, path, unrecognized_fields=more)
    return files


def _is_due(role: str, signed: Signed, now: datetime) -> bool:
    """Whether half of its life is over, or it was signed by a clock that was ahead."""
    life = timedelta(days=LIFE_DAYS[role])
    return not life / 2 <= signed.expires - now <= life + _SLACK


def _sane_now(clock: Clock) -> datetime:
    now_s = clock.utc_s()
    if now_s < BUILT_UTC_S:
        raise Transient(
            f"This machine's clock says {datetime.fromtimestamp(now_s, UTC):%Y-%m-%d}, before this software was made.",
            hint="Nothing is signed until it is set: look at `timedatectl`.",
        )
    return datetime.fromtimestamp(int(now_s), UTC)
