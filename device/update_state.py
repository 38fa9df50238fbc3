"""The states of an update, what may happen in them, and what is done then.

    idle → manifest → files → verifying → testing → ready → activating → probation → idle
                         ↑________|           a bad file is fetched again     |
                                                                rolling_back ─┴→ idle (the version is denied)

`device.update_steps.step` decides; this module holds what it decides about: state, events and actions.

Rules kept here:

1. `Save` comes before an action that would be wrong to repeat from an older state; every other action may be repeated.
2. A byte range counts only once it is synced to disk: at most `window_bytes` are fetched twice after a cut.
3. A model in use is replaced only by one whose hashes and self-test were right, and only when `may_switch` says so.
4. A model on probation that fails gives way to the one before it and is denied. Without one before it, it stays: a
   model that sometimes fails helps a walker more than none, and the failure is in the status.
5. The newest offer (highest revision) wins; a denied one is never installed.

Sources: AWS IoT streams (the device pulls blocks), Mender's state script order, RAUC's boot attempts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from shared.bundle import MANIFEST_NAME, FileEntry, Manifest
from shared.messages import Offer, Want
from shared.transfer import PART_BYTES, WINDOW_BYTES, Ranges, Span

IDLE, MANIFEST, FILES, VERIFYING, TESTING = "idle", "manifest", "files", "verifying", "testing"
READY, ACTIVATING, PROBATION, ROLLING_BACK = "ready", "activating", "probation", "rolling_back"
PHASES = (IDLE, MANIFEST, FILES, VERIFYING, TESTING, READY, ACTIVATING, PROBATION, ROLLING_BACK)
FETCHING = (MANIFEST, FILES)
SWITCHED = (ACTIVATING, PROBATION, ROLLING_BACK)
LINK, LOCAL = "link", "local"


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
    """A file that arrives with a wrong hash this often makes the version denied."""
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
    """Wrong copies seen, by path."""
    tests: int = 0
    looks: int = 0
    starts: int = 0
    problem: str = ""
    """Why the last thing did not work, for the status."""
    reason: str = ""
    """Why a roll-back is under way."""
    # --- not saved ---
    current: Identity = Identity()
    previous: Identity = Identity()
    denied: tuple[Denied, ...] = ()
    files: tuple[FileEntry, ...] = ()
    """Still to fetch, in order."""
    size_bytes: int = 0
    """Of all files of the target."""
    asked: tuple[Asked, ...] = ()
    silent: int = 0
    """Requests in a row that got no answer."""
    online: bool = True
    retry_at_s: float | None = None
    """Waiting until then after trouble with the disk, or before another self-test."""
    checked_at_s: float | None = None
    """When the model in use was last hashed."""


# --- events ---


@dataclass(frozen=True, slots=True)
class Started:
    """The agent has started; the saved state and what lies on disk have been read into the state."""


@dataclass(frozen=True, slots=True)
class Offered:
    offer: Offer
    origin: str = LINK


@dataclass(frozen=True, slots=True)
class OfferRefused:
    """An offer came that may not be followed."""

    reason: str


@dataclass(frozen=True, slots=True)
class BlockCame:
    sha256: str
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Synced:
    path: str


@dataclass(frozen=True, slots=True)
class Checked:
    """A fetched file was hashed: right (then it has its final name) or not."""

    path: str
    ok: bool


@dataclass(frozen=True, slots=True)
class ManifestRead:
    """problem: why it cannot be used, "" = it can."""

    manifest: Manifest | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Surveyed:
    """What of the wanted files is on disk."""

    whole: frozenset[str]
    """Paths that are complete and right."""
    partial: Mapping[str, int]
    """Path -> size of its half-written file."""
    elsewhere: frozenset[str]
    """Paths whose content another folder on this device claims to hold."""
    free_bytes: int


@dataclass(frozen=True, slots=True)
class Copied:
    """All files that were found elsewhere have been tried; those that turned out wrong are not named here."""

    copied: frozenset[str]


@dataclass(frozen=True, slots=True)
class Verified:
    """bad: path -> what is wrong with it; empty = the whole bundle is right."""

    bad: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Tested:
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Tick:
    may_switch: bool


@dataclass(frozen=True, slots=True)
class LinkChanged:
    online: bool


@dataclass(frozen=True, slots=True)
class Activated:
    current: Identity
    previous: Identity


@dataclass(frozen=True, slots=True)
class NotActivated:
    """The bundle that was ready is gone from the disk."""

    reason: str


@dataclass(frozen=True, slots=True)
class AskDropped:
    """The link is down: a request was not sent."""


@dataclass(frozen=True, slots=True)
class RolledBack:
    current: Identity


@dataclass(frozen=True, slots=True)
class LookOk:
    pass


@dataclass(frozen=True, slots=True)
class Failed:
    reason: str


@dataclass(frozen=True, slots=True)
class CurrentChecked:
    """The model in use was hashed after a failure. problem: what is wrong with it ("" = unaltered)."""

    problem: str
    previous_ok: bool


@dataclass(frozen=True, slots=True)
class DiskTrouble:
    """An action failed; the ones after it were not done."""

    reason: str


Event = (
    Started | Offered | OfferRefused | BlockCame | Synced | Checked | ManifestRead | Surveyed | Copied | Verified
    | Tested | Tick | LinkChanged | Activated | NotActivated | AskDropped | RolledBack | LookOk
    | Failed | CurrentChecked | DiskTrouble
)  # fmt: skip


# --- actions ---


@dataclass(frozen=True, slots=True)
class Save:
    """Write the state to update.json, durably."""


@dataclass(frozen=True, slots=True)
class SaveDenied:
    """Write the deny list, durably."""


@dataclass(frozen=True, slots=True)
class Ask:
    want: Want


@dataclass(frozen=True, slots=True)
class Write:
    """Write a block into the half-written file; no sync."""

    path: str
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Sync:
    """fsync the half-written file → Synced."""

    path: str


@dataclass(frozen=True, slots=True)
class Check:
    """Hash the half-written file; when right, give it its final name → Checked."""

    entry: FileEntry


@dataclass(frozen=True, slots=True)
class ReadManifest:
    """→ ManifestRead"""


@dataclass(frozen=True, slots=True)
class Survey:
    """Look what is on disk, removing what is neither wanted nor right → Surveyed."""

    entries: tuple[FileEntry, ...]
    resumable: frozenset[str]
    """Paths whose half-written file is worth keeping."""
    prune: bool
    """Remove every other file: false until the manifest is known, so that an interrupted download is not lost."""


@dataclass(frozen=True, slots=True)
class Copy:
    """Copy from the other folders of this device, checking the hash on the way → Copied."""

    entries: tuple[FileEntry, ...]


@dataclass(frozen=True, slots=True)
class Verify:
    """Check the whole incoming bundle → Verified."""


@dataclass(frozen=True, slots=True)
class SelfTest:
    """→ Tested"""


@dataclass(frozen=True, slots=True)
class Activate:
    """Move the incoming bundle into the free slot and point `current` at it; may be repeated → Activated."""

    manifest_sha256: str


@dataclass(frozen=True, slots=True)
class RollBack:
    """Point `current` back at the previous slot; may be repeated → RolledBack."""


@dataclass(frozen=True, slots=True)
class CheckCurrent:
    """→ CurrentChecked"""


@dataclass(frozen=True, slots=True)
class ClearIncoming:
    pass


@dataclass(frozen=True, slots=True)
class Announce:
    """Tell the agent to load `current`."""


Action = (
    Save | SaveDenied | Ask | Write | Sync | Check | ReadManifest | Survey | Copy | Verify | SelfTest | Activate
    | RollBack | CheckCurrent | ClearIncoming | Announce
)  # fmt: skip
Step = tuple[State, list[Action]]


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


def is_denied(state: State, offer: Offer) -> Denied | None:
    """By hash, or by name: a version that was denied is not tried under the same name again."""
    for denied in state.denied:
        if denied.manifest_sha256 == offer.manifest_sha256 or denied.version == offer.version:
            return denied
    return None
