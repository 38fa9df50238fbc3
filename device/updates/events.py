"""What may happen to an update, and what is then done: the words between `device.updates.machine` and
`device.updates.updater`.

An event tells what was found out. Actions are carried out in order; what one finds out is the next event (→ names it).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from device.updates.state import LINK, Identity, State
from shared.bundle import FileEntry, Manifest
from shared.messages import Offer, Want
from shared.transfer import Ranges

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
    """Of what was fresh, all is on disk. Whole blocks were hashed meanwhile: those in `bad` are wrong."""

    path: str
    bad: Ranges = field(default_factory=Ranges)


@dataclass(frozen=True, slots=True)
class TrustChecked:
    """The signed metadata of the offer were looked at. problem: "" = the offer is proven.

    passing: only time or newer metadata can mend it (they have expired); else the offer is refused.
    current, previous: the models on this device, as far as newer metadata say whether they may guide; None = as before.
    """

    problem: str = ""
    passing: bool = False
    current: Identity | None = None
    previous: Identity | None = None


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
class Reused:
    """Blocks that the models on this device had too were written and synced. path → their bytes."""

    found: Mapping[str, Ranges]


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
class RollBackAsked:
    """A person wants the previous model back."""


@dataclass(frozen=True, slots=True)
class Forgiven:
    """A person wants a denied version to be tried again."""

    version: str


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
    Started | Offered | OfferRefused | BlockCame | Synced | Checked | TrustChecked | ManifestRead | Surveyed | Copied
    | Reused | Verified | Tested | Tick | LinkChanged | Activated | NotActivated | AskDropped | RolledBack | LookOk
    | Failed | RollBackAsked | Forgiven | CurrentChecked | DiskTrouble
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
    """fsync the half-written file, and hash its blocks that are now whole → Synced."""

    path: str


@dataclass(frozen=True, slots=True)
class Check:
    """Hash the half-written file; when right, give it its final name → Checked."""

    entry: FileEntry


@dataclass(frozen=True, slots=True)
class CheckTrust:
    """Do the fetched metadata prove the offer? → TrustChecked"""

    offer: Offer


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
class Reuse:
    """Write the blocks that a model on this device has too, each hashed on the way → Reused."""

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
    """Tell the agent to load `current`, or to guide without a model where that one is barred."""


@dataclass(frozen=True, slots=True)
class Tell:
    """Let the wearer know that an update waits, and why: `text` is spoken."""

    text: str


Action = (
    Save | SaveDenied | Ask | Write | Sync | Check | CheckTrust | ReadManifest | Survey | Copy | Reuse | Verify
    | SelfTest | Activate | RollBack | CheckCurrent | ClearIncoming | Announce | Tell
)  # fmt: skip
Step = tuple[State, list[Action]]
