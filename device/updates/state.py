"""The states of an update, what may happen in them, and what is done then.

    idle → metadata → manifest → files → verifying → testing → ready → activating → probation → idle
                                   ↑________|           a bad file is fetched again     |
                                                                          rolling_back ─┴→ idle (the version is denied)

`device.updates.machine.step` decides; this module holds what it decides about, `device.updates.events` what moves it.

Rules kept here:

1. `Save` comes before an action that would be wrong to repeat from an older state; every other action may be repeated.
2. A byte range counts only once it is synced to disk: at most `window_bytes` are fetched twice after a cut.
3. A model in use is replaced only by one whose hashes and self-test were right, and only when `may_switch` says so.
4. A model on probation that fails gives way to the one before it and is denied. Without one before it, it stays: a
   model that sometimes fails helps a walker more than none, and the failure is in the status.
5. The newest offer wins; a denied one is never installed. Newest: of offers with signed metadata the one that came
   last and is proven, for replays are refused by their metadata; of others the one with the highest revision.
6. With signed metadata (`metadata`) nothing else of an offer is fetched before it is proven. One that is refused leaves
   the update under way as it was.
7. A model in use that may not guide (any more) gives way at once, and is not denied: to the one before it where that
   may guide, else to none. It is in use again as soon as it may guide.
8. What the models on the device hold already is not fetched: whole files first, then single blocks.

Sources: AWS IoT streams (the device pulls blocks), Mender's state script order, RAUC's boot attempts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from shared.bundle import MANIFEST_NAME, FileEntry
from shared.messages import Offer
from shared.transfer import PART_BYTES, WINDOW_BYTES, Ranges, Span

IDLE, METADATA, MANIFEST, FILES = "idle", "metadata", "manifest", "files"
VERIFYING, TESTING = "verifying", "testing"
READY, ACTIVATING, PROBATION, ROLLING_BACK = "ready", "activating", "probation", "rolling_back"
PHASES = (IDLE, METADATA, MANIFEST, FILES, VERIFYING, TESTING, READY, ACTIVATING, PROBATION, ROLLING_BACK)
FETCHING = (METADATA, MANIFEST, FILES)
SWITCHED = (ACTIVATING, PROBATION, ROLLING_BACK)
LINK, LOCAL = "link", "local"
METADATA_FOLDER = "metadata"
STEPS = (
    *(f"{when} {phase}" for when in ("before saving", "saved") for phase in PHASES),
    "surveyed", "block written", "blocks synced", "file complete", "trust checked", "file copied", "blocks reused",
    "self-test starts", "incoming cleared", "activate: slot emptied", "activate: moved into slot",
    "activate: previous set", "activate: current set", "deny list saved", "roll back: current set",
    "roll back: previous forgotten",
)  # fmt: skip
"""The durable steps of an update, as `at` is told of them; those of `device.updates.tuf_client` come between the first
ones."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Bounds of an update."""

    block_bytes: int = PART_BYTES
    """Size asked of each block message."""
    blocks_per_want: int = 4
    """Blocks in one request; the server answers at most 8."""
    window_bytes: int = WINDOW_BYTES
    """Bytes asked for and not yet synced, over all requests: what a cut may cost."""
    wants_in_flight: int = 8
    """Requests without an answer at one time: many small files must not overrun the broker's queue."""
    ask_again_s: float = 10.0
    """A request without an answer is repeated after this; doubled each time, up to ask_again_most_s."""
    ask_again_most_s: float = 300.0
    """Longest pause between two requests."""
    bad_copies: int = 3
    """A file that arrives with a wrong hash this often makes the version denied, or wait where it is proven."""
    bad_again_s: float = 6 * 3600.0
    """Pause before a proven version whose files keep arriving wrong is tried again."""
    test_runs: int = 2
    """Self-test runs with problems before the version is denied; one run may suffer from a busy processor."""
    test_starts: int = 3
    """Self-tests that took the whole agent down before the version is denied."""
    probation_looks: int = 20
    """Looks without failure after which a new model is kept."""
    probation_starts: int = 5
    """Agent starts without enough looks after which a new model is given up."""
    retry_s: float = 60.0
    """Pause after a full disk or another trouble with it."""
    trust_again_s: float = 900.0
    """Pause before expired metadata are looked at again; newer ones are looked at as soon as they come."""
    check_current_s: float = 600.0
    """The model in use is hashed at most this often when guidance reports failures."""
    margin_bytes: int = 64 * 1024**2
    """Free space left to the rest of the device: about two hours of flagged chunks."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How much of one file is here. Kept by path; void when the path's sha256 is another."""

    sha256: str
    have: Ranges = field(default_factory=Ranges)
    """Synced to disk."""
    fresh: Ranges = field(default_factory=Ranges)
    """Written, not synced: forgotten by a restart."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request on its way."""

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
class Identity:
    """A model on this device: the folder name of its slot is not part of it."""

    version: str = ""
    manifest_sha256: str = ""
    barred: str = ""
    """Why it may not guide here, "" = it may: a demonstration or a trial on a walk that is not theirs."""


@dataclass(frozen=True, slots=True)
class State:
    """Everything an update knows. Fields below the line are not saved."""

    phase: str = IDLE
    offered: Offer | None = None
    """The newest offer seen: what the server wants this device to run."""
    target: Offer | None = None
    """What is being installed, or is on probation."""
    origin: str = LINK
    """link | local: where the target's files come from."""
    progress: Mapping[str, Progress] = field(default_factory=dict)
    bad: Mapping[str, int] = field(default_factory=dict)
    """Wrong copies seen, by path, or by path@offset for a block."""
    tests: int = 0
    looks: int = 0
    starts: int = 0
    problem: str = ""
    """Why the last thing did not work, for the status."""
    reason: str = ""
    """Why a roll-back is under way."""
    proven: Offer | None = None
    """The last offer that its signed metadata proved."""
    told: str = ""
    """What the wearer was told about this update; not said again."""
    # --- not saved ---
    current: Identity = Identity()
    previous: Identity = Identity()
    denied: tuple[Denied, ...] = ()
    files: tuple[FileEntry, ...] = ()
    """Still to fetch, in order."""
    size_bytes: int = 0
    """Of all files of the target."""
    reused: bool = False
    """Blocks of the models on this device have been looked for; until then only the list of blocks is fetched."""
    asked: tuple[Asked, ...] = ()
    silent: int = 0
    """Requests in a row that got no answer."""
    online: bool = True
    retry_at_s: float | None = None
    """Waiting until then after trouble with the disk, or before another self-test."""
    checked_at_s: float | None = None
    """When the model in use was last hashed."""


@dataclass(frozen=True, slots=True)
class Report:
    """One update that was put in use by this process."""

    from_version: str
    to_version: str
    fetched_bytes: int
    """Came over the link."""
    copied_bytes: int
    """Were on the device already."""
    seconds: float
    """From the offer, or the agent's start, to the switch."""


def unfetched(state: State) -> int:
    """Bytes of the target that are not yet synced on this device."""
    return sum(entry.size_bytes - progress_of(state, entry).have.total for entry in state.files)


def progress_of(state: State, entry: FileEntry) -> Progress:
    """Of that path with that content; empty where the path's progress was made with another content."""
    progress = state.progress.get(entry.path)
    return progress if progress is not None and progress.sha256 == entry.sha256 else Progress(entry.sha256)


def with_progress(state: State, path: str, progress: Progress | None) -> State:
    """None forgets the path."""
    changed = {key: value for key, value in state.progress.items() if key != path}
    if progress is not None:
        changed[path] = progress
    return replace(state, progress=changed)


def manifest_entry(offer: Offer) -> FileEntry:
    """The manifest as a file to fetch like any other."""
    return FileEntry(MANIFEST_NAME, offer.manifest_size, offer.manifest_sha256)


def metadata_entries(offer: Offer) -> tuple[FileEntry, ...]:
    """The signed metadata as files to fetch like any other."""
    return tuple(FileEntry(f"{METADATA_FOLDER}/{one.name}", one.size_bytes, one.sha256) for one in offer.metadata)


def is_proven(state: State, offer: Offer) -> bool:
    """Whether exactly these metadata have proven exactly this model; offers without metadata need no proof here."""
    proven = state.proven
    return not offer.metadata or (
        proven is not None and (proven.manifest_sha256, proven.metadata) == (offer.manifest_sha256, offer.metadata)
    )


def as_trusted(state: State, *, signed: bool) -> State:
    """A saved state, as far as it may be gone on with. signed: whether only proven offers are followed now, as since
    this device was enrolled; what was begun before then ends."""
    unsigned = state.origin == LINK and state.target is not None and not state.target.metadata
    if not signed or not unsigned or state.phase in SWITCHED:
        return state
    return State(problem="the update from before the enrolment was given up")


def is_denied(state: State, offer: Offer) -> Denied | None:
    """By hash, or by name: a version that was denied is not tried under the same name again."""
    for denied in state.denied:
        if denied.manifest_sha256 == offer.manifest_sha256 or denied.version == offer.version:
            return denied
    return None
