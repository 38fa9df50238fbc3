"""One line of metadata.jsonl: all that is known of one moment. A new column is a field here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from server.dataset import choices
from server.dataset.choices import HeardChoices
from server.labelling import conditions
from shared import hidden, strict
from shared.errors import DatasetError, MessageError

State = Literal["pending", "reviewed", "rejected"]
Split = Literal["train", "held_out", "golden"]
"""What a walk is good for: it teaches; new models are judged on it; they are calibrated on it, and devices test them on
it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRow:
    """One line of metadata.jsonl: all that is known of one moment since this row."""

    row_id: str
    """{sample_id}#{n}, n = 1, 2, ... per sample."""
    sample_id: str
    """The chunk's id."""
    frame_path: str
    """Inside the dataset folder, like the other paths: frames/<sha256>.jpg."""
    audio_path: str
    clip_path: str = ""
    instruction: str
    """What should be said, "" = nothing: ground_truth once confirmed, else llm_correction, else raw_output."""
    raw_output: str = ""
    """What the model worded, "" = nothing."""
    spoken: str = ""
    """What the wearer heard, "" = nothing: the speech policy may hold a wording back, or warn before there is one."""
    llm_correction: str = ""
    """Proposed wording: the wearer's spoken correction in the vocabulary's words, else the tidied raw_output."""
    ground_truth: str = ""
    """What a person confirmed; counts only where `reviewed`. "" = nothing should be said."""
    was_correct: bool | None = None
    """Whether the device's own words mean the ground truth; None until a person has looked."""
    timestamp: float
    """Wall time of the moment, seconds since 1970 in UTC."""
    speaker_id: str = ""
    """The wearer."""
    context: str = ""
    device: str
    walk_id: str
    model_version: str = ""
    confidence: float = 0.0
    flags: tuple[str, ...] = ()
    consent: str = ""
    source: Literal["device", "wearer_voice", "caregiver"] = "device"
    """Who the instruction comes from."""
    author: str = ""
    reviewed: bool = False
    """A person confirmed ground_truth: the row may teach."""
    rejected: bool = False
    """A person said that this moment must not teach; `reviewed` is then false."""
    supersedes: str = ""
    """The row_id that this row replaces."""
    split: Split = "train"
    """Its walk's."""
    golden: bool | None = None
    """Whether a person put the moment into the golden set or took it out; None = as its walk is."""
    transcript: str = ""
    """What was heard in the wearer's newest spoken correction, word for word."""
    transcript_confidence: float = 0.0
    transcript_choices: HeardChoices = ()
    """What may have been meant instead, the likeliest first."""
    correction_id: str = ""
    correction_audio_path: str = ""
    duration_s: float = 0.0
    teacher: str = ""
    """The networks on the server that looked at the moment last, "" = none has."""
    teacher_wording: str = ""
    """What they would have said, canonical, "" = nothing: a choice for a person, which teaches nothing by itself."""
    teacher_score: float = 0.0
    """How sure they are of it, 0..1."""
    teacher_disagreement: float = 0.0
    """How sure they are that the device was wrong, 0..1: it moves the moment up in the review queue."""
    llm_model: str = ""
    """The language model, or the collection, that proposed a wording where the rules found none; "" = none has."""
    llm_about: str = ""
    """The words that it was asked about: its proposal counts only for these."""
    llm_wording: str = ""
    """What it proposes, canonical; "" = nothing that may be said. It teaches nothing by itself."""
    llm_refused: str = ""
    """Why its answer was dropped, "" = it was not."""
    batch: str = ""
    """The moment that a person looked at when they decided about this one too, "" = they looked at it itself."""
    doubt: str = ""
    """Why its label went back to review once, "" = it never did. What a person says then stands."""
    doubt_score: float = 0.0
    """How doubtful the label was, 0..1: the order of such moments in the queue. 0 again where the label is gone."""
    environment: str = ""
    """Where it was, one of server.labelling.conditions.CHOICES; "" = nobody has said."""
    environment_from: str = ""
    """Who says so: "person", or what guessed it. The same of the three that follow."""
    lighting: str = ""
    lighting_from: str = ""
    weather: str = ""
    weather_from: str = ""
    scenario: str = ""
    scenario_from: str = ""
    erased: bool = False
    """The wearer had it erased: nothing is left of it but its ids, and it is no moment any more."""
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def state(self) -> State:
        """Where it stands in the review."""
        return "rejected" if self.rejected else "reviewed" if self.reviewed else "pending"

    @property
    def doubted(self) -> bool:
        """Its label waits for a second look: it stands as the proposal, and does not teach meanwhile."""
        return self.doubt_score > 0 and self.state == "pending"

    @property
    def hidden(self) -> str:
        """What the device made unrecognisable in the picture, as shared.hidden words it."""
        value = self.extra.get(hidden.FIELD, "")  # no field of its own: it comes from a record's, of whatever type
        return value if isinstance(value, str) else ""


TEACHER_FIELDS = ("teacher", "teacher_wording", "teacher_score", "teacher_disagreement")
DOUBT_FIELDS = ("doubt", "doubt_score")
LLM_FIELDS = ("llm_model", "llm_about", "llm_wording", "llm_refused")
CONDITION_FIELDS = tuple(f"{name}{end}" for name in conditions.FIELDS for end in ("", "_from"))
_NAMES = tuple(item.name for item in fields(SampleRow) if item.name != "extra")
_FIRST = ("frame_path", "audio_path", "instruction")
_IN_ORDER = (*_FIRST, *(name for name in _NAMES if name not in _FIRST))
_SINGLE = ("transcript_choices", "batch", "erased", *DOUBT_FIELDS, *CONDITION_FIELDS)
_ONLY_WITH = {names[0]: names for names in (TEACHER_FIELDS, LLM_FIELDS, *((name,) for name in _SINGLE))}
"""Fields that are written only where the first of them says something."""


def foreign_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """The entries that no field of a row is named after."""
    return {key: value for key, value in values.items() if key not in _NAMES}


def to_dict(row: SampleRow) -> dict[str, Any]:
    """A row as plain JSON values, the dataset seed's three fields first; a teacher's and a language model's only where
    one has looked, those of the surroundings only where they are known, choices,
    `batch`, a doubt and `erased` only where it
    was so."""
    left_out = {name for first, names in _ONLY_WITH.items() if not getattr(row, first) for name in names}
    out = {name: getattr(row, name) for name in _IN_ORDER if name not in left_out}
    out["flags"] = list(row.flags)
    if row.transcript_choices:
        out["transcript_choices"] = choices.to_list(row.transcript_choices)
    return {**out, **foreign_fields(row.extra)}


def from_dict(value: Any, *, where: str = "a row") -> SampleRow:
    """Read a row back. Raises: DatasetError naming `where` and the field."""
    try:
        return strict.read(SampleRow, value)
    except MessageError as error:
        raise DatasetError(f"{where}: {error}") from None


def files_of(row: SampleRow) -> tuple[str, ...]:
    """Names of its blobs."""
    return tuple(filter(None, (row.frame_path, row.audio_path, row.clip_path, row.correction_audio_path)))


def version_of(row: SampleRow) -> int:
    """The n of {sample_id}#{n}; 1 for a row that some other tool named."""
    return number_in(row.row_id)


def number_in(row_id: str) -> int:
    """The same of its id alone."""
    tail = row_id.rpartition("#")[2]
    return int(tail) if tail.isascii() and tail.isdigit() else 1


def next_version(row: SampleRow, after: SampleRow, **changes: Any) -> SampleRow:
    """`after`, with `changes`, as the row that supersedes `row`."""
    return replace(after, row_id=f"{row.sample_id}#{version_of(row) + 1}", supersedes=row.row_id, **changes)


def blank(row: SampleRow) -> dict[str, Any]:
    """What is left of a row of an erased moment, in no more bytes than it had."""
    kept = ("row_id", "sample_id", "device", "split", "supersedes")
    empty = {"frame_path": "", "audio_path": "", "instruction": "", "timestamp": 0.0, "walk_id": ""}
    return {**empty, **{name: getattr(row, name) for name in kept}, "rejected": True, "erased": True}


def fold(rows: Iterable[SampleRow]) -> dict[str, SampleRow]:
    """The newest row of every sample, in the order in which samples first appeared.

    The number in the row's id decides, then the order: a repair may append an old row late.
    """
    newest: dict[str, SampleRow] = {}
    for row in rows:
        known = newest.get(row.sample_id)
        if known is None or version_of(row) >= version_of(known):
            newest[row.sample_id] = row
    return newest
