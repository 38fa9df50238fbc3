"""What goes into the speech policy and what comes out: settings, events, actions, state. All frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from shared.lens import LensTrouble
from shared.runtime.seen import Hazard

CAMERA_BLOCKED = "Camera blocked."
CAMERA_BLINDED = "Camera blinded by light."
TOO_DARK = "Too dark."
CAMERA_FROZEN = "Camera frozen."
CAMERA_UPSIDE_DOWN = "Camera is upside down."
CAMERA_ON_SIDE = "Camera is on its side."
CAMERA_TILTED = "Camera is tilted."
MOUNTING_TEXTS = {180: CAMERA_UPSIDE_DOWN, 90: CAMERA_ON_SIDE, 270: CAMERA_ON_SIDE}
"""By the turn that sets the pictures right, in degrees."""
CAMERA_BACK = "Camera back."  # not "camera clear": the word "clear" belongs to the path
LENS_TEXTS = {
    LensTrouble.DARK: CAMERA_BLOCKED,
    LensTrouble.FLAT: CAMERA_BLOCKED,
    LensTrouble.COVERED: CAMERA_BLOCKED,
    LensTrouble.BRIGHT: CAMERA_BLINDED,
    LensTrouble.FROZEN: CAMERA_FROZEN,
    LensTrouble.NIGHT: TOO_DARK,
}
BLINDING = frozenset((LensTrouble.DARK, LensTrouble.FLAT, LensTrouble.FROZEN))
"""Troubles that leave nothing to see: no guidance comes from such a picture. Covered, bright and night are estimates,
so a warning still goes out: a wrong estimate must never silence one."""
PAUSED = "Guidance paused."
PAUSED_NO_PICTURE = "Guidance paused, no picture."
RESUMED = "Guidance is back."
MUTED = "Muted. Warnings only."
UNMUTED = "Voice on."
NOTHING_SAID = "Nothing said yet."
UNSURE_NOW = "Guidance is unsure."
SURE_AGAIN = "Guidance is sure again."
VOICE_BACK = "Voice is back."
NOT_SURE_AHEAD = "Not sure, check ahead."
NOT_SURE_LEFT = "Not sure, check left."
NOT_SURE_RIGHT = "Not sure, check right."
NOT_SURE = {"ahead": NOT_SURE_AHEAD, "on the left": NOT_SURE_LEFT, "on the right": NOT_SURE_RIGHT}
"""By place. They name nothing: the cane finds out what the model could not."""
HEARD = "Heard: "
"""Before the wearer's own words, when a correction is read back."""
HEARD_NOTHING = "Heard: nothing to say."
HEARD_OTHER = "Heard, but not understood."
HEARD_TEXTS = (HEARD_NOTHING, HEARD_OTHER)
STATE_TEXTS = (
    CAMERA_BLOCKED, CAMERA_BLINDED, TOO_DARK, CAMERA_FROZEN, CAMERA_UPSIDE_DOWN, CAMERA_ON_SIDE, CAMERA_TILTED,
    CAMERA_BACK, PAUSED, PAUSED_NO_PICTURE, RESUMED, MUTED, UNMUTED, NOTHING_SAID, UNSURE_NOW, SURE_AGAIN, VOICE_BACK,
    *NOT_SURE.values(),
)  # fmt: skip
GUIDANCE = ("hazard", "worded", "unsure", "clear")
"""Spoken for these reasons = about the way; the rest is about the device."""
CAMERA, MOUNTING, GUIDING, MUTING, CONFIDENCE, VOICE = "camera", "mounting", "guidance", "mute", "confidence", "voice"
OWN_WORDS = "own words"
"""What news is about: the newest about a thing takes the place of older ones that still wait."""

NEVER_S = float("-inf")
AGAIN_S = 3.0  # before news that a warning cut off is begun again; doubled each time it is cut, up to 96 s
PATIENT_TRIES = 5  # of news that can wait, then it is left for the next walk, or until it is asked for
MOST_REMEMBERED = 64  # said and asked things that are kept; a minute of talk is a quarter of it
LOST_BEFORE_S = 3.0  # a sound output that died is noticed this much later: what was said meanwhile was not heard
CONFIRMING = ("", "sidewalk", "tactile paving")
"""Things named only to say that the way goes on as it does. "" = none is named: "Continue straight." """

Key = tuple[str, str]
"""(object or action, place): what counts as the same thing."""


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """What a wearer, or a model's manifest, may set. Scores and confidences are 0..1."""

    verbosity: Literal["warnings", "obstacles", "all"] = "all"
    """How much is said: tier 1 only, tiers 1 and 2, or all three."""
    lead: Literal["early", "normal", "late"] = "normal"
    """early: warnings at the first look, however faint. late: tiers 2 and 3 only once they are near."""
    weak_side: Literal["none", "left", "right"] = "none"
    """Where the wearer notices less: of things of the same tier those there are said first, a look earlier, and count
    as near."""
    trial_classes: bool = False
    """Whether things are named of which nobody measured on real pictures how often the model is right about them."""
    confirmations: bool = False
    """Whether is said that the way goes on: "Keep straight, sidewalk ahead." Fewer words leave more street to hear."""
    confirm_every_s: float = 20.0
    """Confirmations are not given more often than this."""
    tick_every_s: float = 0.0
    """A soft tick this often while all is well and nothing is said: silence alone may be a crash. 0 = none."""
    hazard_above: float = 0.5
    """Score above which a hazard counts as seen. A model's manifest sets it."""
    at_once_above: float = 0.95
    """Score above which a tier-1 hazard ahead is said at the first look."""
    speak_above: float = 0.6
    """Confidence a worded instruction needs to be spoken. A model's manifest sets it."""
    flag_below: float = 0.5
    """Confidence below which the moment is kept for review. A model's manifest sets it."""
    looks_needed: int = 2
    """In how many of the last `looks_window` looks a hazard must be seen."""
    looks_window: int = 3
    """How many looks hysteresis remembers."""
    repeat_after_s: float = 10.0
    """The same (object, side, tier) is not said again before this."""
    gone_after_s: float = 5.0
    """A hazard not seen for this long is a new one when it comes again."""
    warning_gone_after_s: float = 1.5
    """One to stop for that was not seen for this long, nor in `looks_window` looks, is another one when it comes again:
    it is said, however lately the one before was."""
    nearer_by: float = 0.05
    """Rise of the score that counts as nearer."""
    near_score: float = 0.95
    """A score this high cannot rise much further: it counts as nearer by itself."""
    near_above: float = 0.8
    """Score from which a thing is near enough for a wearer who wants words late."""
    words_per_minute_max: int = 60
    """Budget of words of tiers 2 and 3. Warnings and state changes are never held back by it."""
    gap_s: float = 0.5
    """Silence kept after an utterance before tiers 2 and 3 speak again: the street must be heard."""
    stale_after_s: float = 2.0
    """Age of the picture at which tier-3 words are dropped."""
    warning_stale_after_s: float = 3.0
    """Age of the picture at which tiers 1 and 2 are dropped: 3.3 m of walking later the thing is passed or met."""
    ask_again_s: float = 2.0
    """A thing the decoder had no good words for is not worded again before this."""
    sound_hold_s: float = 4.0
    """How long tier 3 is held back, and tier 2 and news are quieter, after a masking sound."""
    masking_sounds: tuple[str, ...] = ("siren", "horn", "engine", "reversing beeper", "train", "shout")
    """Sounds of the street that the wearer must hear undisturbed."""
    unsure_every_s: float = 2.0
    """One wording in this time counts: what it is unsure of is worded again and again, and would outvote the rest."""
    unsure_window: int = 10
    """How many such wordings back the confidence is watched: at least 20 s of walk."""
    unsure_most: int = 8
    """So many unsure ones of those: "Guidance is unsure." """
    unsure_least: int = 3
    """So few of them: "Guidance is sure again." """
    blocked_after_s: float = 0.75
    """A camera that shows nothing for this long is announced as blocked."""
    unblocked_after_s: float = 0.5
    """Good pictures for this long, and the camera is announced as back."""
    lit_after_s: float = 5.0
    """The same after "Too dark.": under lamps it is dark every few steps."""
    blocked_again_s: float = 30.0
    """A camera still blocked is announced again after this."""
    other_trouble_after_s: float = 5.0
    """Another trouble of a camera that is announced as blocked is announced after this."""
    dark_below: float = 0.02
    """Mean brightness under which a picture shows nothing: a night street with one lamp is above it."""
    flat_below: float = 0.015
    """Standard deviation of brightness under which a picture shows nothing: a finger, a fogged lens, a black frame."""
    stalled_after_s: float = 2.0
    """No look for this long, and guidance is announced as paused."""
    say_clear: bool = False
    """Whether "path is clear" may be said at all. Off: it is the riskiest sentence there is."""
    clear_above: float = 0.9
    """Confidence that "path is clear" needs."""
    clear_looks: int = 8
    """Looks in a row without any hazard that "path is clear" needs."""
    clear_every_s: float = 20.0
    """"Path is clear" is not said more often than this."""
    speech_timeout_s: float = 15.0
    """An utterance whose end was never reported counts as ended after this: a dead voice must not block the next."""
    warning_timeout_s: float = 5.0
    """The same for a warning, which has four words: the next warning must not wait for longer."""


THRESHOLDS = ("hazard_above", "at_once_above", "speak_above", "flag_below", "clear_above")
"""Settings that are calibrated for each model, and travel with it."""


def calibrated(
    wearer: PolicySettings, thresholds: Mapping[str, float], *, pinned: frozenset[str] = frozenset()
) -> PolicySettings:
    """A wearer's settings with the thresholds that were calibrated for a model, but for those that are pinned."""
    own = {name: float(thresholds[name]) for name in THRESHOLDS if name in thresholds and name not in pinned}
    settings = replace(wearer, **own)  # type: ignore[arg-type]  # all of them are floats
    return replace(settings, at_once_above=max(settings.at_once_above, settings.hazard_above))


# --- events -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Looked:
    """A new picture was looked at."""

    hazards: tuple[Hazard, ...]
    brightness: float
    contrast: float
    lens: LensTrouble | None = None
    seen_at_s: float | None = None
    """When the picture was taken, on the policy's clock; None = now."""
    far: bool = False
    """The picture is far from all that the model was taught on: that nothing is seen means less than ever."""
    withheld: bool = False
    """Something is seen that may not be named: the way is not clear."""


@dataclass(frozen=True, slots=True)
class Viewed:
    """A new picture came that was not looked at: it shows nothing, or there is no model."""

    lens: LensTrouble | None = None


@dataclass(frozen=True, slots=True)
class Worded:
    """The decoder worded the picture of the latest look. Comes before the next Looked."""

    text: str
    confidence: float
    seen_at_s: float
    """When that picture was taken, on the policy's clock."""


@dataclass(frozen=True, slots=True)
class LookFailed:
    """The model failed on a picture."""


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """An utterance is over: finished, cut or impossible."""

    utterance: int


@dataclass(frozen=True, slots=True)
class SoundHeard:
    """A sound of the vocabulary was recognised."""

    kind: str


@dataclass(frozen=True, slots=True)
class StateChange:
    """Something about the device that the wearer must know."""

    text: str
    urgent: bool = False
    """Urgent ones cut everything but a tier-1 warning."""
    about: str | None = None
    """What it is about: an older one about the same is no longer true and, if it still waits, not said any more."""
    patient: bool = False
    """It can wait: whatever warns or names an obstacle cuts it, and it is begun again later."""
    sees: bool = False
    """It says that guidance sees: it waits while guidance does not, so that the last word is how things are."""


@dataclass(frozen=True, slots=True)
class CorrectionListening:
    """The wearer began (or stopped) to speak a correction: only warnings may talk over it."""

    on: bool


@dataclass(frozen=True, slots=True)
class RepeatAsked:
    """The wearer wants to hear the last guidance again."""


@dataclass(frozen=True, slots=True)
class AheadAsked:
    """The wearer wants to hear what the newest look shows."""


@dataclass(frozen=True, slots=True)
class WordsHeard:
    """What was understood of the wearer's own correction, to be read back."""

    text: str


@dataclass(frozen=True, slots=True)
class MuteToggled:
    """The wearer switched the voice off or on. Warnings of tier 1 are spoken all the same."""


@dataclass(frozen=True, slots=True)
class VoiceLost:
    """Nothing that is said is heard: the headphones are unplugged, the speech program is gone."""


@dataclass(frozen=True, slots=True)
class VoiceFound:
    """What is said is heard again."""

    text: str = VOICE_BACK
    """What is said of it."""


@dataclass(frozen=True, slots=True)
class WalkBegan:
    """Looks are expected from now on."""


@dataclass(frozen=True, slots=True)
class WalkEnded:
    """No more looks are expected."""


@dataclass(frozen=True, slots=True)
class TimePassed:
    """Time passed."""


Event = (
    Looked | Viewed | Worded | LookFailed | SpeechEnded | SoundHeard | StateChange | CorrectionListening | RepeatAsked
    | AheadAsked | WordsHeard | MuteToggled | VoiceLost | VoiceFound | WalkBegan | WalkEnded | TimePassed
)  # fmt: skip


# --- actions ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Speak:
    """Say this now."""

    utterance: int
    """Counts up; its end is reported with SpeechEnded(utterance)."""
    text: str
    tier: int
    why: str
    """hazard (fixed phrase) | worded (by the decoder) | unsure | clear | state | repeat | asked | heard (own words)"""
    confidence: float = 1.0


@dataclass(frozen=True, slots=True)
class Cut:
    """Stop what is being said, now."""

    utterance: int


@dataclass(frozen=True, slots=True)
class WordIt:
    """Word this look; answer with Worded."""

    about: tuple[Hazard, ...] = field(default=(), compare=False)
    """What is due, most important first: a model without a decoder has no words but the table's."""


@dataclass(frozen=True, slots=True)
class Flag:
    """Keep this moment for review."""

    reason: str


@dataclass(frozen=True, slots=True)
class Duck:
    """From now on everything but a warning is spoken quietly (or as loud as ever again): the street must be heard."""

    on: bool


@dataclass(frozen=True, slots=True)
class Beat:
    """Play a soft tick: guidance is alive and sees."""


@dataclass(frozen=True, slots=True)
class Note:
    """Play a tick, over what is being said: the wearer's question was understood, and its answer waits for that."""


Action = Speak | Cut | WordIt | Flag | Duck | Beat | Note


# --- state ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SpokenHazard:
    """A hazard that was spoken about."""

    key: Key
    tier: int
    at_s: float
    seen_s: float
    """When it was last seen."""
    score: float
    """Its score, or the decoder's confidence, when it was said."""
    looks_without: int = 0
    """How many looks in a row have not shown it."""
    was_away: bool = False
    """Out of sight for `warning_gone_after_s` and `looks_window` looks since: what is plain now is another."""
    was_gone: bool = False
    """It was away for `gone_after_s` since it was said: what is seen now is a new one."""


@dataclass(frozen=True, slots=True)
class News:
    """A state change or a repetition that waits for its turn."""

    text: str
    why: str
    urgent: bool
    about: str | None = None
    cuts: int = 0
    """How often it was begun and cut off."""
    not_before_s: float = NEVER_S
    patient: bool = False
    sees: bool = False
    tier: int = 2
    """How it is spoken: what is to be stopped for keeps a warning's pace and loudness."""

    @property
    def rank(self) -> int:
        return 2 if self.urgent else 4 if self.patient else 3


@dataclass(frozen=True, slots=True)
class Speaking:
    """What is being said."""

    utterance: int
    rank: int
    """1 tier 1, 2 urgent state, 3 tier 2 and state, 4 tier 3 and state that can wait: the lower cuts the higher."""
    since_s: float
    news: News | None
    """Set where it must be said again if it is cut off."""


@dataclass(frozen=True, slots=True)
class PolicyState:
    """Everything the policy remembers. Start with PolicyState()."""

    looks: tuple[frozenset[Key], ...] = ()
    """What was seen in the last looks, newest last."""
    seen: tuple[tuple[Key, Hazard], ...] = ()
    """In the newest look, the most important first."""
    said: tuple[SpokenHazard, ...] = ()
    asked: tuple[tuple[Key, float], ...] = ()
    """What the decoder was last run for, and when."""
    check: bool = False
    """The decoder named a thing that one look does not prove: word the next look too."""
    speaking: Speaking | None = None
    waiting: tuple[News, ...] = ()
    quiet_since_s: float = NEVER_S
    words: tuple[tuple[float, int], ...] = ()
    """(when, how many) of the words of tiers 2 and 3 in the last minute."""
    held_until_s: float = NEVER_S
    ducked: bool = False
    beat_s: float = NEVER_S
    """When the last tick was played."""
    sureness: tuple[bool, ...] = ()
    """Whether the last wordings were sure ones, newest last."""
    sureness_s: float = NEVER_S
    """When the newest of them came."""
    unsure: bool = False
    """Announced as unsure."""
    confirmed_s: float = NEVER_S
    """When the last confirmation was given."""
    lost_s: float | None = None
    """Since when nothing is heard of what is said."""
    announced: tuple[tuple[float, News], ...] = ()
    """The latest news that was begun, and when: what nobody heard is said again."""
    listening: bool = False
    muted: bool = False
    bad_since_s: float | None = None
    """Since when the pictures show nothing."""
    good_since_s: float | None = None
    """Since when they show something again, while `blocked`."""
    blocked: bool = False
    blocked_said_s: float = NEVER_S
    blocked_text: str | None = None
    """What was said of it."""
    paused: bool = False
    last_look_s: float | None = None
    """None: no looks are expected."""
    empty_looks: int = 0
    clear_said_s: float = NEVER_S
    last_guidance: str | None = None
    next_utterance: int = 1
