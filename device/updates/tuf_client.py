"""Whether an offered model is truly meant for this device: the TUF client, fed with files that came over the link.

The metadata files that an offer names are pulled like any other block, unverified; here they are believed for their
signatures only. python-tuf's `Updater` runs the specified client workflow (root chain, expiry, rollback, mix and match,
length and hash); what is added is that an offer must be *the* model for this device, and where time comes from.

Promises:

1. `check` returns only for an offer whose manifest hash and size are signed by keys that the root in this device's
   identity leads to, under metadata no older than any seen before, and assigned to this device.
2. `supervised` returns only where the newest metadata that `check` verified name this device as a supervised one for
   that very manifest, and have not ended.
3. What was verified is kept durably file by file: power may go at any point, and nothing once seen can be rolled back.
4. The time is the clock floor's: a wall clock that is wrong by years can make updates wait, and end the trial of a
   model. No other guidance depends on anything here.

source: TUF specification 1.0.34, section 5, https://theupdateframework.github.io/specification/latest/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tuf.api.exceptions import DownloadError, DownloadHTTPError, ExpiredMetadataError, RepositoryError
from tuf.api.metadata import Metadata, Targets, Timestamp
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from shared import assignment, atomic
from shared.assignment import Assignment
from shared.errors import MessageError, Refused, Transient
from shared.floor import ClockFloor
from shared.messages import Offer
from shared.signed_files import LIMITS_BYTES, MAX_FILES

METADATA = "metadata"
CRASH_POINTS = ("root_kept", "timestamp_kept", "snapshot_kept", "targets_kept", "floor_raised")
"""The durable steps of `check`, in order, as `crash_point` receives them."""
_URL = "waycue://metadata/"


class Trust:
    """What this device believes about releases. Not for two threads at once; one process per folder.

    folder: kept between runs, `<state>/trust`
    root_json: the root that came with this device's identity; newer ones are reached from it by their signatures
    crash_point: called after each durable step
    """

    def __init__(
        self, folder: Path, root_json: bytes, floor: ClockFloor, *, crash_point: atomic.Step = atomic.no_step
    ) -> None:
        self._folder, self._root_json, self._floor = folder / METADATA, root_json, floor
        self._crash_point = crash_point

    def check(self, files: Mapping[str, bytes], offer: Offer, device: str) -> None:
        """Return if this device may run the offered model.

        files: metadata by TUF name, unverified, all that the offer names
        raises: Refused (not signed as it must be, older than what was seen, not this device's model, other bytes),
        Transient (expired, or the disk refuses: the offer may be good later; guidance goes on)
        """
        targets = self._refresh(files)
        mine = assignment.assigned(_assignments(targets), device)
        if mine != offer.version:
            raise Refused(f"Model {offer.version} was offered, but what is signed for {device} is {mine or 'none'}.")
        target = targets.targets[assignment.target_path(mine)]
        if target.hashes.get("sha256") != offer.manifest_sha256 or target.length != offer.manifest_size:
            raise Refused(f"The manifest offered for model {mine} is not the one that was signed.")

    def supervised(self, version: str, manifest_sha256: str, device: str) -> None:
        """Return if the newest metadata verified here let a model on trial guide this device's wearer.

        raises: Refused (they do not), Transient (they have ended, or are not whole: what is offered next may tell)
        """
        targets = self._kept()
        release = {release.version: release for release in _assignments(targets)}.get(version)
        if release is None or not release.supervised or not assignment.may_run(release, device):
            raise Refused(
                f"Model {version} is on trial, and nothing signed names {device} as one who walks with a companion.",
                hint=f"On the server: waycue-server rollout start {version} --device {device} --supervised.",
            )
        if targets.targets[assignment.target_path(version)].hashes.get("sha256") != manifest_sha256:
            raise Refused(f"Model {version} on trial is not the one that was signed for {device}.")

    def _kept(self) -> Targets:
        """The targets that were verified last, verified again. Raises: Refused, Transient."""
        try:
            data = {role: (self._folder / f"{role}.json").read_bytes() for role in ("timestamp", "snapshot", "targets")}
            files = {"timestamp.json": data.pop("timestamp")}
            files |= {f"{Metadata.from_bytes(kept).signed.version}.{role}.json": kept for role, kept in data.items()}
            updater = _Updater(
                self._folder, files, self._root_json, now_s=self._floor.now_s(), crash_point=atomic.no_step, keep=False
            )
            updater.refresh()
        except FileNotFoundError:
            raise Refused("No signed release was ever verified on this device.") from None
        except ExpiredMetadataError as error:
            raise Transient(
                f"What was signed about models on trial has expired ({error}).",
                hint="Bring the device near its server: a trial goes on once that was heard.",
            ) from None
        except (RepositoryError, DownloadError, OSError) as error:
            raise Transient(f"The release metadata kept in {self._folder} are not whole ({error}).") from None
        return updater.targets

    def _refresh(self, files: Mapping[str, bytes]) -> Targets:
        """Follow the metadata to the targets in force. Raises: Refused, Transient."""
        if len(files) > MAX_FILES:
            raise Refused(f"An offer came with {len(files)} metadata files; at most {MAX_FILES} are read.")
        try:
            atomic.make_dirs(self._folder)
            updater = _Updater(
                self._folder, files, self._root_json, now_s=self._floor.now_s(), crash_point=self._crash_point
            )
            updater.refresh()
        except ExpiredMetadataError as error:
            raise Transient(
                f"The release metadata has expired ({error}): updates wait, guidance goes on.",
                hint="It is renewed while the server runs; `waycue-server keys status` says what is wrong.",
            ) from None
        except DownloadHTTPError as error:
            raise Refused(f"An offer came without a metadata file that it needs: {error}.") from None
        except (RepositoryError, DownloadError) as error:
            raise Refused(f"The release metadata of an offer was not accepted: {error}") from None
        except OSError as error:
            raise Transient(f"Release metadata could not be kept in {self._folder}: {error}.") from None
        self._raise_floor(updater.timestamp)
        return updater.targets

    def _raise_floor(self, timestamp: Timestamp) -> None:
        """A signed time tells what time it is at least; one after its own end is a slip and tells nothing."""
        signed_at: Any = timestamp.unrecognized_fields.get("signed_at")
        if type(signed_at) is int and 0 < signed_at < timestamp.expires.timestamp():
            self._floor.raise_to(signed_at)
            self._crash_point("floor_raised")


def _assignments(targets: Targets) -> list[Assignment]:
    """Raises: Refused."""
    try:
        return [assignment.read(path, target.custom) for path, target in targets.targets.items()]
    except MessageError as error:
        raise Refused(f"The release metadata is signed, but not ours: {error}") from None


class _Updater(Updater):  # inherited, not wrapped: how python-tuf keeps its files is a method of its class
    """python-tuf's client with three seams filled: files from memory, durable writes, and the floor's time.

    keep: False writes nothing, where what is on disk is only read again.
    """

    def __init__(
        self,
        folder: Path,
        files: Mapping[str, bytes],
        root_json: bytes,
        *,
        now_s: float,
        crash_point: atomic.Step,
        keep: bool = True,
    ) -> None:
        self._crash_point, self._keep = crash_point, keep
        config = UpdaterConfig(
            max_root_rotations=MAX_FILES,
            root_max_length=LIMITS_BYTES["root"],
            timestamp_max_length=LIMITS_BYTES["timestamp"],
            snapshot_max_length=LIMITS_BYTES["snapshot"],
            targets_max_length=LIMITS_BYTES["targets"],
        )
        super().__init__(str(folder), _URL, fetcher=_FromMemory(files), config=config, bootstrap=root_json)
        self._trusted_set.reference_time = datetime.fromtimestamp(now_s, UTC)

    @property
    def timestamp(self) -> Timestamp:
        return self._trusted_set.timestamp

    @property
    def targets(self) -> Targets:
        return self._trusted_set.targets

    def _persist_file(self, filename: str, data: bytes) -> None:
        path = Path(filename)
        if not self._keep or (path.exists() and path.read_bytes() == data):
            return
        atomic.write_bytes(path, data)
        self._crash_point(f"{path.stem.rpartition('.')[2]}_kept")

    def _update_root_symlink(self) -> None:
        """Only read where no root is given, and this device always gives its own."""


class _FromMemory(FetcherInterface):
    """Files that were pulled before; what was not pulled does not exist."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files

    def _fetch(self, url: str) -> Iterator[bytes]:
        name = url.removeprefix(_URL)
        if name not in self._files:
            raise DownloadHTTPError(f"{name} is missing", 404)
        return iter((self._files[name],))
