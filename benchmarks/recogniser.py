"""Which recogniser proposes the right correction, by voice, speed and noise; and for how long the server stands still.

    make bench NAME=recogniser                       some minutes; writes build/bench/recogniser.json
    python -m benchmarks.recogniser --fit            fits the weights instead, on other voices, and prints them
    python -m benchmarks.recogniser --bundle FOLDER  with what a model sees on drawn pictures of the thing, too

The sounds are those of benchmarks/_spoken_set.py: espeak-ng's voices, a machine's, which tell recognisers apart and say
little about how well people are understood. A row without its recogniser (the extra server-whisper) is left out.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import _recogniser_demo, _recogniser_fit, _recogniser_stall, _spoken_set
from benchmarks._recogniser_fit import Lesson
from benchmarks._recogniser_sight import pictured
from benchmarks._spoken_set import Utterance
from server.dataset.choices import SURE
from server.speech import open_transcriber
from server.speech.choosing import Circumstances
from server.speech.proposing import Proposed, proposed
from server.speech.requests import NOT_SEEN, SeenThings
from shared import atomic, vocabulary
from shared.errors import ConfigError
from shared.speech import GRAMMAR, SENTENCES, SoundPass, Transcriber, Transcript, proposal
from shared.speech.vote import vote_of

OUT, KEPT = Path("build/bench/recogniser.json"), Path("build/recogniser")
PRECISION = 0.95
"""Of the proposals that count as sure."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One sound, and all that recognisers made of it."""

    of: Utterance
    passes: tuple[SoundPass, ...]
    seen: SeenThings = NOT_SEEN

    def by(self, *kinds: str) -> tuple[SoundPass, ...]:
        """The passes of some kinds."""
        return tuple(one for one in self.passes if one.by in kinds)


@dataclass(frozen=True, slots=True)
class Way:
    """One row of the table: a recogniser, and what is known beside the sound."""

    name: str
    kinds: tuple[str, ...]
    plain: bool = False
    """As a device does it: the vote alone."""
    sees: bool = False
    overlooks: bool = False
    """The model sees everything but the thing."""

    def propose(self, evidence: Evidence) -> Proposed:
        """What would be written down."""
        passes = evidence.by(*self.kinds)
        if self.plain:
            heard = vote_of(passes)
            return Proposed(heard.text, heard.confidence, proposal(heard))
        seen = evidence.seen if self.sees else NOT_SEEN
        if self.overlooks:
            seen = replace(seen, scores={**seen.scores, evidence.of.thing: 0.0})
        return proposed(Transcript("", 0.0, passes), Circumstances(seen))

    def sure(self, made: Proposed) -> bool:
        """Whether it would be taken without listening: of the vote alone, where all hearings agree."""
        return bool(made.wording) and made.confidence >= (1.0 if self.plain else SURE)


WAYS = (
    Way("pocketsphinx, the vote alone", (GRAMMAR,), plain=True),
    Way("pocketsphinx, several guesses", (GRAMMAR,)),
    Way("pocketsphinx, several guesses, seen", (GRAMMAR,), sees=True),
    Way("whisper-tiny.en held to sentences", (SENTENCES,)),
    Way("both", (GRAMMAR, SENTENCES)),
    Way("both, seen", (GRAMMAR, SENTENCES), sees=True),
    Way("both, overlooked", (GRAMMAR, SENTENCES), sees=True, overlooks=True),
)


def recognisers() -> list[Transcriber]:
    """Those that this machine has."""
    found = [open_transcriber("pocketsphinx")]
    try:
        found.append(_whisper())
    except ConfigError as error:
        Console().print(f"Without Whisper: {error}")
    return found


def _whisper() -> Transcriber:
    from server.speech.whisper import WhisperTranscriber

    whisper = WhisperTranscriber("packaged")
    whisper.open()
    return whisper


def heard(utterances: Sequence[Utterance], keep: Path) -> Iterator[Evidence]:
    """What the recognisers make of each sound; what was kept from a run before is read, and the rest added to it."""
    known = _kept(keep)
    ears: list[Transcriber] = []
    for one in utterances:
        key = f"{one.voice} {one.words_per_minute} {one.noise or 'clean'} {one.said}"
        if key not in known:
            ears = ears or recognisers()
            known[key] = {"key": key, "passes": [asdict(made) for made in _passes(ears, one.wav())]}
            atomic.make_dirs(keep.parent)
            with keep.open("a") as file:
                file.write(json.dumps(known[key]) + "\n")
        yield Evidence(one, tuple(_pass(made) for made in known[key]["passes"]))


def _kept(keep: Path) -> dict[str, dict[str, Any]]:
    lines = keep.read_text().splitlines() if keep.exists() else []
    return {row["key"]: row for row in map(json.loads, lines)}


def _passes(ears: Sequence[Transcriber], wav: bytes) -> tuple[SoundPass, ...]:
    return tuple(made for ear in ears for made in ear.transcribe(wav).passes)


def _pass(value: dict[str, Any]) -> SoundPass:
    return SoundPass(value["by"], tuple((text, score) for text, score in value["texts"]))


def row(way: Way, evidence: Sequence[Evidence], noise: str) -> dict[str, Any]:
    """One row of the table. noise: clean | street"""
    own = [(one, way.propose(one)) for one in evidence if bool(one.of.noise) == (noise == "street")]
    said = [(one, made) for one, made in own if one.of.meant]
    return {
        "name": way.name,
        "voices": sorted({one.of.voice for one, _ in said}),
        "speed": sorted({one.of.words_per_minute for one, _ in said}),
        "noise": noise,
        "sounds": len(said),
        **_of_corrections(way, said),
        **_of_all(way, own),
        "baseline": _most_frequent([one.of.thing for one, _ in said]),
    }


def _of_corrections(way: Way, said: Sequence[tuple[Evidence, Proposed]]) -> dict[str, Any]:
    return {
        "right_proposal_rate": _share([one.of.meant == made.wording for one, made in said]),
        "word_error": _word_error([(one.of.said, made.transcript) for one, made in said]),
        "sure_rate": _share([way.sure(made) for _, made in said]),
        "in_choices_rate": None if way.plain else _share([_listed(one, made) for one, made in said]),
    }


def _of_all(way: Way, own: Sequence[tuple[Evidence, Proposed]]) -> dict[str, Any]:
    """With the sounds that are no correction."""
    wrong = [bool(made.wording) and one.of.meant != made.wording for one, made in own]
    others = [bool(made.wording) for one, made in own if not one.of.meant]
    return {
        "wrong_proposal_rate": _share(wrong),
        "confident_wrong_rate": _share([bad and way.sure(made) for bad, (_, made) in zip(wrong, own, strict=True)]),
        "proposed_of_no_correction": sum(others),
        "no_corrections": len(others),
    }


def by_object(way: Way, evidence: Sequence[Evidence]) -> dict[str, str]:
    """Thing → "right of said"."""
    said, right = Counter[str](), Counter[str]()
    for one in evidence:
        if one.of.meant:
            said[one.of.thing] += 1
            right[one.of.thing] += way.propose(one).wording == one.of.meant
    return {thing: f"{right[thing]} of {count}" for thing, count in sorted(said.items())}


def _listed(one: Evidence, made: Proposed) -> bool:
    return any(choice.wording == one.of.meant for choice in made.choices)


def _share(values: Sequence[bool]) -> float:
    return round(sum(values) / len(values), 3) if values else 0.0


def _most_frequent(things: Sequence[str]) -> float:
    """How often who always proposes the most frequent thing names the right one."""
    return round(max(Counter(things).values()) / len(things), 3) if things else 0.0


def _word_error(pairs: Sequence[tuple[str, str]]) -> float:
    """Insertions, deletions and other words, of the words said."""
    wrong = sum(_distance(vocabulary.words(said), vocabulary.words(words)) for said, words in pairs)
    return round(wrong / max(1, sum(len(vocabulary.words(said)) for said, _ in pairs)), 3)


def _distance(wanted: Sequence[str], got: Sequence[str]) -> int:
    """Levenshtein's, over words."""
    costs = list(range(len(got) + 1))
    for number, word in enumerate(wanted, 1):
        before, costs = costs, [number]
        for at, other in enumerate(got, 1):
            costs.append(min(before[at] + 1, costs[-1] + 1, before[at - 1] + (word != other)))
    return costs[-1]


def with_sight(evidence: Sequence[Evidence], bundle: Path | None) -> list[Evidence]:
    """Each with what a model sees on a drawn picture of its thing; without a model as they are."""
    if bundle is None:
        return list(evidence)
    seen = pictured(bundle, [one.of.thing for one in evidence])
    return [replace(one, seen=what) for one, what in zip(evidence, seen, strict=True)]


def demo(ways: Sequence[Way]) -> dict[str, Any]:
    """Of the demo's own corrections, how many each way proposes right."""
    spoken = list(_recogniser_demo.spoken())
    ears = recognisers()
    evidence = []
    for said, wav in spoken:
        of = Utterance(said, vocabulary.normalise(said) or "", "demo", 165, "")
        evidence.append(Evidence(of, _passes(ears, wav)))
    right = {way.name: sum(way.propose(one).wording == one.of.meant for one in evidence) for way in ways}
    return {"corrections": len(evidence), "right": right}


def judge(bundle: Path | None, *, each: int) -> dict[str, Any]:
    """Everything that is measured."""
    evidence = with_sight(list(heard(_spoken_set.part("judge", each=each), KEPT / "judge.jsonl")), bundle)
    ways = _ways(evidence, sees=bundle is not None)
    return {
        "recogniser": [row(way, evidence, noise) for way in ways for noise in ("clean", "street")],
        "by_object": {way.name: by_object(way, evidence) for way in ways},
        "sure_from": SURE,
        "demo": demo([way for way in ways if not way.sees]),
        "stall": _recogniser_stall.measured(),
    }


def measure() -> list[dict[str, Any]]:
    """The table's rows of what needs no model of pictures, as `make bench NAME=web` shows them."""
    evidence = list(heard(_spoken_set.part("judge", each=_spoken_set.A_CELL), KEPT / "judge.jsonl"))
    return [row(way, evidence, noise) for way in _ways(evidence, sees=False) for noise in ("clean", "street")]


def _ways(evidence: Sequence[Evidence], *, sees: bool) -> list[Way]:
    """Those that there is evidence for."""
    whisper = any(one.by(SENTENCES) for one in evidence)
    return [way for way in WAYS if (whisper or SENTENCES not in way.kinds) and (sees or not way.sees)]


def fitted(bundle: Path | None, *, each: int) -> dict[str, Any]:
    """Weights for each kind of evidence, from the voices that are not judged."""
    sounds = [one for part in ("fit", "calibrate") for one in _spoken_set.part(part, each=each)]
    evidence = with_sight(list(heard(sounds, KEPT / "fit.jsonl")), bundle)
    found = {}
    for kinds in ((GRAMMAR,), (SENTENCES,), (GRAMMAR, SENTENCES)):
        lessons = [Lesson(one.of.voice, one.of.meant, one.of.thing, one.by(*kinds), one.seen) for one in evidence]
        fit = _recogniser_fit.fit(lessons)
        found["+".join(kinds)] = {**asdict(fit.weights), "sure_from": fit.sure_from(PRECISION)}
    return found


def main() -> None:
    """Measure, print and write; or fit and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--each", type=int, default=_spoken_set.A_CELL, help="corrections in a cell of the set")
    options = parser.parse_args()
    console, began_s = Console(), time.monotonic()
    if options.fit:
        console.print_json(data=fitted(options.bundle, each=options.each))
        return
    measured = judge(options.bundle, each=options.each)
    atomic.write_json(OUT, measured)
    table = Table("", "", "right", "wrong", "word error", "sure", "sure, wrong", "in the list", title="proposed right")
    shown = ("right_proposal_rate", "wrong_proposal_rate", "word_error", "sure_rate", "confident_wrong_rate")
    for one in measured["recogniser"]:
        figures = [f"{one[name]:.2f}" for name in shown]
        listed = "" if one["in_choices_rate"] is None else f"{one['in_choices_rate']:.2f}"
        table.add_row(one["name"], one["noise"], *figures, listed)
    console.print(table)
    console.print_json(data={"demo": measured["demo"], "stall": measured["stall"]})
    console.print(f"{OUT} is written, after {time.monotonic() - began_s:.0f} s.")


if __name__ == "__main__":
    main()
