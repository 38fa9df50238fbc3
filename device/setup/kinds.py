"""What goes into the dialogue of the set-up and what comes out: events, actions, state. All frozen."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from shared.setup_code import SetupCode, WifiNetwork


class SetupPress(StrEnum):
    """What a button means here."""

    BEGIN = "begin"
    """Open the set-up, or close it."""
    SHORT = "short"
    LONG = "long"
    AGAIN = "again"


class CodeTrouble(StrEnum):
    """What pictures show that is no code of ours."""

    FOREIGN = "foreign"
    """A code with something else in it."""
    BAD_NETWORK = "bad network"
    """A Wi-Fi of a kind that is not joined."""
    SEVERAL = "several"
    """Two different codes of ours in one picture."""
    TORN = "torn"
    """The shape of a code, and no text."""


class JoinTrouble(StrEnum):
    """Why a network was not joined."""

    PASSWORD = "password"
    NOT_FOUND = "not found"
    UNABLE = "unable"
    """There is no NetworkManager, or it takes no orders from this user."""
    FAILED = "failed"


class EnrolTrouble(StrEnum):
    """Why the device was not let in."""

    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    OTHER_NAME = "other name"
    """The settings fix the name of this device, and the code has another."""
    BUSY = "busy"
    STORAGE = "storage"


# --- events -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CodeSeen:
    """A code of ours was read."""

    code: SetupCode | WifiNetwork


@dataclass(frozen=True, slots=True)
class OtherSeen:
    trouble: CodeTrouble


@dataclass(frozen=True, slots=True)
class Joined:
    """The network was joined."""


@dataclass(frozen=True, slots=True)
class NotJoined:
    trouble: JoinTrouble


@dataclass(frozen=True, slots=True)
class ServersFound:
    """Who in this network says that it is a waycue server: HOST:PORT each."""

    servers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LetIn:
    """The identity is on disk."""


@dataclass(frozen=True, slots=True)
class NotLetIn:
    trouble: EnrolTrouble


@dataclass(frozen=True, slots=True)
class Pressed:
    press: SetupPress


@dataclass(frozen=True, slots=True)
class SpeechBegan:
    """One of our lines is being said and lasts this long."""

    text: str
    lasts_s: float


@dataclass(frozen=True, slots=True)
class Watched:
    """How it stands with the server and its model; comes about once a second while the model is awaited."""

    online: bool
    fetching: bool
    guides: bool
    """A picture was looked at by a model."""


@dataclass(frozen=True, slots=True)
class TimePassed:
    pass


SetupEvent = (
    CodeSeen | OtherSeen | Joined | NotJoined | ServersFound | LetIn | NotLetIn | Pressed | SpeechBegan | Watched
    | TimePassed
)  # fmt: skip


# --- actions ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Say:
    text: str
    cut: bool = False
    """It ends the line that is being said."""
    about: str | None = None
    """As of a StateChange."""


@dataclass(frozen=True, slots=True)
class Join:
    """Answer with Joined or NotJoined."""

    network: WifiNetwork


@dataclass(frozen=True, slots=True)
class Enrol:
    """Answer with LetIn or NotLetIn."""

    code: SetupCode
    server: str
    """HOST:PORT to ask."""


@dataclass(frozen=True, slots=True)
class FindServers:
    """Answer with ServersFound."""


@dataclass(frozen=True, slots=True)
class Restart:
    """The identity is new: everything is to be built with it."""


@dataclass(frozen=True, slots=True)
class Done:
    """The tutorial is over, or was skipped: it is not to come again by itself."""


SetupAction = Say | Join | Enrol | FindServers | Restart | Done


# --- state ------------------------------------------------------------------------------------------------------------


class SetupPhase(StrEnum):
    OFF = "off"
    LOOKING = "looking"
    """Codes are read."""
    CONFIRMING = "confirming"
    """A code for another server waits for a press."""
    JOINING = "joining"
    ENROLLING = "enrolling"
    FINDING = "finding"
    """The address in the code does not answer: the network is asked."""
    LEAVING = "leaving"
    """Enrolled: the last words before the restart."""
    FETCHING = "fetching"
    TUTORIAL = "tutorial"


@dataclass(frozen=True, slots=True)
class Enrolled:
    """Whom this device belongs to."""

    device: str
    server: str
    """HOST:PORT at which it was enrolled."""


@dataclass(frozen=True, slots=True)
class SetupState:
    """Times are monotonic, in seconds."""

    phase: SetupPhase = SetupPhase.OFF
    enrolled: Enrolled | None = None
    """None = not at any server."""
    since_s: float = 0.0
    """When the phase began."""
    prompt: str = ""
    """What is said again while it waits; "" = nothing."""
    prompted_s: float = 0.0
    told: str = ""
    """The last trouble that was said."""
    told_s: float = float("-inf")
    torn_since_s: float | None = None
    torn_s: float = float("-inf")
    code: SetupCode | WifiNetwork | None = field(default=None, repr=False)
    """What is being used, or waits for a press or another try."""
    spent: SetupCode | WifiNetwork | None = field(default=None, repr=False)
    """A code that failed for good: seen again, it is not tried at once."""
    again_s: float | None = None
    """When `code` is tried again."""
    servers: tuple[str, ...] = ()
    """Still to be asked."""
    is_joined: bool = False
    """The network of `code` was joined."""
    searched: bool = False
    """The network was asked for servers in this try."""
    line: int = 0
    """Of the tutorial."""
    next_s: float = float("inf")
    """When the next line, or the restart, is due."""

    @property
    def reads(self) -> bool:
        """Pictures are wanted."""
        return self.phase is SetupPhase.LOOKING
