"""What may happen to an update, and what is then done: the words between `device.updates.machine` and the disk.

An event reports what was found. The actions that answer it are carried out in order by `device.updates.executor`; an
action marked → produces that event.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from device.updates.operator_requests import OperatorRequest
from device.updates.state import ModelIdentity, State
from shared.bundle import FileEntry, Manifest
from shared.messages import Offer, Want
from shared.transfer import Ranges

# --- events from outside ---


@dataclass(frozen=True, slots=True)
class AgentStarted:
    """The saved state and the models on the disk have been read into the state."""


@dataclass(frozen=True, slots=True)
class Offered:
    offer: Offer


@dataclass(frozen=True, slots=True)
class OfferRefused:
    """An offer came that may not be followed."""

    problem: str


@dataclass(frozen=True, slots=True)
class BlockReceived:
    sha256: str
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class LinkChanged:
    online: bool


@dataclass(frozen=True, slots=True)
class UpdateTick:
    """Time passed. may_switch: whether now is a good moment to exchange models."""

    may_switch: bool


@dataclass(frozen=True, slots=True)
class ModelLooked:
    """The model in use looked at a picture. problem: why it could not be loaded, or the look failed."""

    problem: str | None = None


# --- events that report what an action found ---


@dataclass(frozen=True, slots=True)
class ActionFailed:
    """The actions after it were not done. problem: of the disk; None: the link is down."""

    problem: str | None


@dataclass(frozen=True, slots=True)
class TrustChecked:
    """The signed metadata of the offer were checked. problem: why they do not prove it, None: they do.

    transient: only time or newer metadata can mend the problem (they have expired); else the offer is refused.
    current, previous: the models on this device, where newer metadata say whether they may guide; None: as before.
    """

    problem: str | None = None
    transient: bool = False
    current: ModelIdentity | None = None
    previous: ModelIdentity | None = None


@dataclass(frozen=True, slots=True)
class ManifestRead:
    """problem: why the manifest cannot be used."""

    manifest: Manifest | None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class FilesSurveyed:
    """What of the wanted files lies in the staging folder."""

    whole: frozenset[str]  # paths that are complete and right
    partial: Mapping[str, int]  # path → size of its half-written file
    free_bytes: int


@dataclass(frozen=True, slots=True)
class FilesReused:
    """Whole files, and blocks of others (path → their bytes), that the models on this device held, or that were made
    from them. All synced."""

    whole: frozenset[str] = frozenset()
    blocks: Mapping[str, Ranges] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FileSynced:
    """What was written of a file is on disk. bad: blocks with a wrong hash.

    whole: whether the hash of the whole file is right (then it has its final name); None: not all of it is here.
    """

    path: str
    bad: Ranges = field(default_factory=Ranges)
    whole: bool | None = None


@dataclass(frozen=True, slots=True)
class BundleVerified:
    """damaged: path → what is wrong with it; empty: the whole bundle is right."""

    damaged: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class BundleTested:
    """problems: of the self-test."""

    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModelSwitched:
    """Which models are in the slots after `Activate` or `RollBack`. problem: why nothing could be activated."""

    current: ModelIdentity
    previous: ModelIdentity
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class CurrentChecked:
    """The model in use was hashed after a failure. problem: what is wrong with it, None: nothing."""

    problem: str | None
    previous_fit: bool


AgentEvent = AgentStarted | LinkChanged | UpdateTick | ModelLooked | OperatorRequest
ServerEvent = Offered | OfferRefused | BlockReceived
FetchResult = TrustChecked | ManifestRead | FilesSurveyed | FilesReused | FileSynced
SwitchResult = BundleVerified | BundleTested | ModelSwitched | CurrentChecked
UpdateEvent = AgentEvent | ServerEvent | ActionFailed | FetchResult | SwitchResult


# --- actions ---


class Do(Enum):
    """The actions that need no more than the state."""

    SAVE = auto()  # write the deny list where it changed, then the state, durably
    CHECK_TRUST = auto()  # whether the fetched metadata prove the target → TrustChecked
    READ_MANIFEST = auto()  # → ManifestRead
    VERIFY = auto()  # hash every file of the fetched bundle → BundleVerified
    SELF_TEST = auto()  # run the golden chunks of the fetched bundle → BundleTested
    ACTIVATE = auto()  # move the target into the free slot and point `current` at it; may be repeated → ModelSwitched
    ROLL_BACK = auto()  # point `current` back at the previous slot; may be repeated → ModelSwitched
    USE_CURRENT = auto()  # let the agent load `current`, or guide without a model where that one is barred
    CHECK_CURRENT = auto()  # hash the model in use → CurrentChecked
    CLEAR_STAGING = auto()  # remove what was fetched


@dataclass(frozen=True, slots=True)
class Survey:
    """Check what is in the staging folder, and remove files that are not right → FilesSurveyed."""

    entries: tuple[FileEntry, ...]
    resumable: frozenset[str]  # paths whose half-written file is worth keeping
    prune: bool
    """Remove every other file: false until the manifest is known, so that an interrupted download is not lost."""


@dataclass(frozen=True, slots=True)
class Reuse:
    """Copy what the models on this device hold, with the hash checked: whole files, or else blocks → FilesReused."""

    entries: tuple[FileEntry, ...]
    blocks: bool


@dataclass(frozen=True, slots=True)
class Assemble:
    """Make what the fetched night.delta makes from the base's files on this device, with the hash checked
    → FilesReused."""

    entries: tuple[FileEntry, ...]


@dataclass(frozen=True, slots=True)
class Ask:
    """Send a request for blocks; where the link is down → ActionFailed."""

    want: Want


@dataclass(frozen=True, slots=True)
class WriteBlock:
    """Write a block into the half-written file; no sync."""

    path: str
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class SyncFile:
    """fsync the half-written file and hash its blocks that are now whole; where all of it is here, hash the file and
    give it its final name → FileSynced."""

    entry: FileEntry
    complete: bool


@dataclass(frozen=True, slots=True)
class Announce:
    """Say to the wearer that an update waits, and why."""

    text: str


UpdateAction = Do | Survey | Reuse | Assemble | Ask | WriteBlock | SyncFile | Announce
Step = tuple[State, list[UpdateAction]]
