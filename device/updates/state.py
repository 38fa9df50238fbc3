"""What an update knows. `device.updates.events` holds what moves it, `device.updates.machine` decides.

    idle → metadata → manifest → files → verifying → testing → ready → activating → probation → idle
                                   ↑________|      a damaged file is fetched again      |
                                                                          rolling_back ─┴→ idle (the version is denied)

Rules kept by `machine`:

1. `Save` comes before an action that would be wrong to repeat from an older state; every other action may be repeated.
2. A byte range counts only once it is synced to disk: a cut costs at most `window_bytes` that are fetched twice.
3. A model in use is replaced only by one whose hashes and self-test were right, and only when `may_switch` says so.
4. A model on probation that fails is rolled back and denied. Without a model before it, it stays: a model that
   sometimes fails helps a walker more than none, and the failure is in the status.
5. The newest offer wins; a denied one is never installed. Newest: of offers with signed metadata the one that came
   last and is proven, for replays are refused by their metadata; of others the one with the highest revision.
6. With signed metadata nothing else of an offer is fetched before it is proven. An offer that is refused leaves the
   update under way as it was.
7. A model in use that may not guide (any more) is rolled back at once and not denied; where the one before it may not
   guide either, the device guides without a model. It is used again as soon as it may guide.
8. What the models on the device hold already is not fetched: first whole files, then what a night.delta makes from
   them, then single blocks. What cannot be made, or comes out with another hash, is fetched.

Sources: AWS IoT streams (the device pulls blocks), Mender's state script order, RAUC's boot attempts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from shared.bundle import MANIFEST_NAME, FileEntry
from shared.messages import Offer
from shared.transfer import PART_BYTES, WINDOW_BYTES, Ranges, Span


class UpdatePhase(StrEnum):
    """The values are written to update.json and shown in the status."""

    IDLE = "idle"
    METADATA = "metadata"
    MANIFEST = "manifest"
    FILES = "files"
    VERIFYING = "verifying"
    TESTING = "testing"
    READY = "ready"
    ACTIVATING = "activating"
    PROBATION = "probation"
    ROLLING_BACK = "rolling_back"


FETCHING = (UpdatePhase.METADATA, UpdatePhase.MANIFEST, UpdatePhase.FILES)
SWITCHED = (UpdatePhase.ACTIVATING, UpdatePhase.PROBATION, UpdatePhase.ROLLING_BACK)
METADATA_FOLDER = "metadata"
CRASH_POINTS = (
    *(f"{when} {phase}" for when in ("before saving", "saved") for phase in UpdatePhase),
    "surveyed", "block written", "blocks synced", "file complete", "trust checked", "file copied", "blocks reused",
    "base kept", "file assembled",
    "self-test starts", "incoming cleared", "activate: slot emptied", "activate: moved into slot",
    "activate: previous set", "activate: current set", "deny list saved", "roll back: current set",
    "roll back: previous forgotten",
)  # fmt: skip
"""The durable steps of an update as `crash_point` receives them; those of `device.updates.tuf_client` lie between."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Bounds of an update."""

    block_bytes: int = PART_BYTES  # size asked of each block message
    blocks_per_want: int = 4  # blocks in one request; the server answers at most 8
    window_bytes: int = WINDOW_BYTES  # bytes requested and not yet synced, over all requests: what a cut may cost
    wants_in_flight: int = 8  # unanswered requests at one time: many small files must not overrun the broker's queue
    ask_again_s: float = 10.0  # timeout of a request; doubled each time that none was answered, up to ask_again_most_s
    ask_again_most_s: float = 300.0  # longest pause between two requests
    bad_copies: int = 3
    """A file that arrives with a wrong hash this often makes the version denied, or wait where it is proven."""
    bad_again_s: float = 6 * 3600.0  # pause before a proven version whose files keep arriving wrong is tried again
    test_runs: int = 2
    """Self-test runs with problems before the version is denied; one run may suffer from a busy processor."""
    test_starts: int = 3  # self-tests that took the whole agent down before the version is denied
    probation_looks: int = 20  # looks without failure after which a new model is kept
    probation_starts: int = 5  # agent starts without enough looks after which a new model is given up
    retry_s: float = 60.0  # pause after a full disk or another disk error
    trust_again_s: float = 900.0
    """Pause before expired metadata are checked again; newer ones are checked as soon as they come."""
    check_current_s: float = 600.0  # the model in use is hashed at most this often when guidance reports failures
    margin_bytes: int = 64 * 1024**2  # free space left to the rest of the device: about two hours of flagged chunks


@dataclass(frozen=True, slots=True)
class FileProgress:
    """Which bytes of one file are here. Kept by path; void when the path's sha256 is another."""

    sha256: str
    synced: Ranges = field(default_factory=Ranges)
    unsynced: Ranges = field(default_factory=Ranges)  # written and not yet synced: forgotten by a restart

    @property
    def here(self) -> Ranges:
        return self.synced.union(self.unsynced)


@dataclass(frozen=True, slots=True)
class Request:
    """A request for blocks that waits for its answer."""

    path: str
    ranges: tuple[Span, ...]
    at_s: float

    @property
    def size_bytes(self) -> int:
        return sum(stop - start for start, stop in self.ranges)


@dataclass(frozen=True, slots=True)
class Denied:
    """A bundle that is not installed again, and why."""

    version: str
    manifest_sha256: str
    reason: str


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Which model lies in a slot; without a version there is none."""

    version: str | None = None
    manifest_sha256: str | None = None
    barred: str | None = None
    """Why it may not guide here: a demonstration, or a trial that was not granted. None: it may."""


@dataclass(frozen=True, slots=True)
class State:
    """Everything an update knows. Fields below the line are not saved."""

    phase: UpdatePhase = UpdatePhase.IDLE
    offered: Offer | None = None  # the newest offer seen: what the server wants this device to run
    target: Offer | None = None  # what is being installed, or is on probation; None only while idle
    progress: Mapping[str, FileProgress] = field(default_factory=dict)
    bad: Mapping[str, int] = field(default_factory=dict)  # wrong copies seen, by path, or by path@offset for a block
    tests: int = 0
    looks: int = 0
    starts: int = 0
    problem: str | None = None  # why the last step did not work, for the status
    reason: str | None = None  # why a roll-back is under way
    proven: Offer | None = None  # the last offer that its signed metadata proved
    announced: str | None = None  # what the wearer was told about this update; it is not repeated
    # --- not saved ---
    current: ModelIdentity = ModelIdentity()
    previous: ModelIdentity = ModelIdentity()
    denied: tuple[Denied, ...] = ()  # in a file of its own, which `Save` writes too
    files: tuple[FileEntry, ...] = ()  # still to fetch, in order
    size_bytes: int = 0  # of all files of the target
    reused: bool = False
    """Blocks of the models on this device have been searched; until then only the list of blocks is fetched."""
    delta: bool = False
    """A night.delta is listed, and nothing was made from it yet: until then only it and the list of blocks are
    fetched."""
    requests: tuple[Request, ...] = ()
    timeouts: int = 0  # requests in a row that got no answer
    online: bool = True
    retry_at_s: float | None = None  # nothing is done before then: after a disk error, or before another self-test
    checked_at_s: float | None = None  # when the model in use was last hashed

    @property
    def missing_bytes(self) -> int:
        """Bytes of the target that are not yet synced on this device."""
        return sum(entry.size_bytes - self.progress_of(entry).synced.total for entry in self.files)

    def progress_of(self, entry: FileEntry) -> FileProgress:
        """Of that path with that content; empty where the path's progress was made with another content."""
        progress = self.progress.get(entry.path)
        return progress if progress is not None and progress.sha256 == entry.sha256 else FileProgress(entry.sha256)

    def with_progress(self, path: str, progress: FileProgress | None) -> State:
        """None forgets the path."""
        others = {key: value for key, value in self.progress.items() if key != path}
        return replace(self, progress=others if progress is None else others | {path: progress})

    def is_proven(self, offer: Offer) -> bool:
        """Whether exactly these metadata have proven exactly this model; offers without metadata need no proof here."""
        proven = self.proven
        return not offer.metadata or (
            proven is not None and (proven.manifest_sha256, proven.metadata) == (offer.manifest_sha256, offer.metadata)
        )

    def denial_of(self, offer: Offer) -> Denied | None:
        """By hash, or by name: a version that was denied is not tried under the same name again."""
        for denied in self.denied:
            if denied.manifest_sha256 == offer.manifest_sha256 or denied.version == offer.version:
                return denied
        return None


@dataclass(frozen=True, slots=True)
class UpdateReport:
    """One update that was put in use by this process."""

    from_version: str
    to_version: str
    fetched_bytes: int  # came over the link
    copied_bytes: int  # were on the device already
    seconds: float  # from the offer, or the agent's start, to the switch


def manifest_entry(offer: Offer) -> FileEntry:
    """The manifest as a file to fetch like any other."""
    return FileEntry(MANIFEST_NAME, offer.manifest_size, offer.manifest_sha256)


def metadata_entries(offer: Offer) -> tuple[FileEntry, ...]:
    """The signed metadata as files to fetch like any other."""
    return tuple(FileEntry(f"{METADATA_FOLDER}/{file.name}", file.size_bytes, file.sha256) for file in offer.metadata)


def restored(state: State, *, signed: bool) -> State:
    """A saved state, as far as it may be continued. signed: whether only proven offers are followed, as since this
    device was enrolled; a fetch that began before the enrolment ends."""
    unsigned = state.target is not None and not state.target.metadata
    if not signed or not unsigned or state.phase in SWITCHED:
        return state
    return State(problem="the update from before the enrolment was given up")
