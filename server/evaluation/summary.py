"""Drives → one plain object: every figure of an evaluation, ready for JSON. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from server.evaluation import seeing, sentences, slots, speech
from server.evaluation.bars import BARS, Bar
from server.evaluation.facts import Drive, Moment, Truth, Utterance, Words
from server.evaluation.measures import Proportion, Spread, calibration, ratio
from server.evaluation.rows import PERFECT

FORMAT = 1


def summarise(
    drives: Sequence[Drive],
    *,
    bundle: Mapping[str, Any],
    dataset: str,
    beside: Mapping[str, Sequence[Drive]] | None = None,
) -> dict[str, Any]:
    """All figures.

    bundle: what is known of the model; dataset: what it was judged on
    beside: row → drives of another model on the same courses (server.evaluation.rows)
    """
    groups = dict.fromkeys(drive.course.group for drive in drives)
    whole = {
        "format": FORMAT,
        "bundle": dict(bundle),
        "dataset": dataset,
        "walks": len(drives),
        "minutes": round(sum(drive.course.duration_s for drive in drives) / 60, 3),
        "looks": sum(len(drive.moments) for drive in drives),
        "exact": all(drive.course.exact for drive in drives),
        **figures(drives),
        "groups": {name: figures([d for d in drives if d.course.group == name]) for name in groups},
        "objects": _objects(drives),
        "rows": {name: figures(others) for name, others in (beside or {}).items()},
    }
    return {**whole, "bars": [held(bar, whole) for bar in BARS]}


def figures(drives: Sequence[Drive]) -> dict[str, Any]:
    """The figures of some drives together."""
    judged = [(words, truth) for drive in drives for words, truth in _judged(drive)]
    pairs = [(words.text, truth.references) for words, truth in judged]
    right = [slots.right(text, references) for text, references in pairs]
    scored = slots.scores(pairs)
    warned = speech.by_tier(_results(drives))
    return {
        "grammar": _grammar(drives),
        "slots": asdict(scored),
        "sentences": sentences.worth(sentences.of_walks([list(_judged_in(drive)) for drive in drives])),
        "seeing": seeing.figures(drives),
        "actions": asdict(slots.confusion(pairs)),
        "recall": {str(tier): asdict(warnings) for tier, warnings in warned.items()},
        "false_alarms": _false_alarms(drives),
        "false_clear": {
            "model": asdict(scored.false_clear),
            "spoken": sum(len(speech.false_clears(drive)) for drive in drives),
        },
        "chunks": _chunks(drives),
        "speech": asdict(speech.amount(drives)),
        "calibration": asdict(calibration([words.confidence for words, _ in judged], right)),
        "milliseconds": _times(drives),
    }


def _judged(drive: Drive) -> Iterator[tuple[Words, Truth]]:
    """Sentences beside what was right, where both are known."""
    for moment in drive.moments:
        if moment.sampled and moment.truth is not None and moment.words is not None:
            yield moment.words, moment.truth


def _judged_in(drive: Drive) -> Iterator[sentences.Answer]:
    return ((words.text, truth) for words, truth in _judged(drive))


def _results(drives: Sequence[Drive]) -> list[speech.EventResult]:
    return [result for drive in drives for result in speech.event_results(drive)]


def _objects(drives: Sequence[Drive]) -> dict[str, Any]:
    """Object → how many of its events were warned of, and how many of the words about it were right; in the order of
    the alphabet."""
    by_object: dict[str, list[speech.EventResult]] = {}
    for result in sorted(_results(drives), key=lambda result: result.event.object):
        by_object.setdefault(result.event.object, []).append(result)
    right = _right_words(drives)
    nothing = Proportion.of(0, 0)
    return {
        name: {**asdict(speech.warnings(by_object.get(name, [])).recall), "precision": asdict(right.get(name, nothing))}
        for name in sorted({*by_object, *right})
    }


def _right_words(drives: Sequence[Drive]) -> dict[str, Proportion]:
    """Object → of the utterances that name it where somebody annotated, those about such a thing that was there."""
    said, right = Counter[str](), Counter[str]()
    for drive in drives:
        near = speech.Near(drive)
        for utterance in drive.utterances:
            if utterance.guides and utterance.thing[0] and near.known(utterance.t_s):
                said[utterance.thing[0]] += 1
                right[utterance.thing[0]] += near.justifies(utterance)
    return {name: Proportion.of(right[name], count) for name, count in said.items()}


def _grammar(drives: Sequence[Drive]) -> dict[str, Any]:
    """Of what the decoder wrote by itself, and of what was spoken."""
    words = [moment.words for drive in drives for moment in drive.moments if moment.words is not None]
    return {
        "raw": asdict(Proportion.of(sum(written.grammatical for written in words), len(words))),
        "filtered": asdict(slots.grammar([utterance.text for utterance in _guiding(drives)])),
    }


def _false_alarms(drives: Sequence[Drive]) -> dict[str, Any]:
    alarms = [alarm for drive in drives for alarm in speech.false_alarms(drive)]
    return {
        "rate": asdict(speech.alarm_rate(drives, len(alarms))),
        "warnings": sum(alarm.utterance.tier == 1 for alarm in alarms),
        "kinds": dict(Counter(alarm.kind for alarm in alarms)),
        "objects": dict(Counter(alarm.utterance.thing[0] for alarm in alarms).most_common()),
    }


def _chunks(drives: Sequence[Drive]) -> dict[str, Any]:
    chunks = sum((speech.chunks(drive) for drive in drives), speech.Chunks())
    return {**asdict(chunks), "speak_f1": chunks.speak_f1, "silent_f1": chunks.silent_f1}


def _times(drives: Sequence[Drive]) -> dict[str, Any]:
    """How long things took on this machine: one look, one wording, and from the shutter to the voice."""
    pictures = [moment for drive in drives for moment in _of_pictures(drive)]
    guiding = _guiding(drives)
    times = {
        "look": [m.look_ms for m in pictures],
        "word": [m.words.took_ms for m in pictures if m.words],
        "to_speech": [utterance.took_ms for utterance in guiding],
        "to_speech_warnings": [utterance.took_ms for utterance in guiding if utterance.tier == 1],
    }
    return {name: asdict(Spread.of(values)) for name, values in times.items()}


def _of_pictures(drive: Drive) -> Iterable[Moment]:
    """The last moment of each picture."""
    return {moment.picture: moment for moment in drive.moments}.values()


def _guiding(drives: Sequence[Drive]) -> list[Utterance]:
    return [utterance for drive in drives for utterance in drive.utterances if utterance.guides]


def held(bar: Bar, whole: Mapping[str, Any]) -> dict[str, Any]:
    """A bar beside what was measured, and what a perfect model reaches; not met where nothing was measured."""
    perfect = _figure(bar.path, whole["rows"][PERFECT]) if PERFECT in whole.get("rows", {}) else None
    value = _figure(bar.path, whole)
    share = ratio(value, perfect) if bar.least is not None and value is not None and perfect is not None else None
    if bar.of_perfect:
        value = share
    met = value is not None and (bar.least is None or value >= bar.least) and (bar.most is None or value <= bar.most)
    wanted = f"at least {bar.least:g}" if bar.least is not None else f"at most {bar.most:g}"
    return {"name": bar.name, "wanted": wanted, "value": value, "met": met, "perfect": perfect, "of_perfect": share}


def _figure(path: Sequence[str], whole: Mapping[str, Any] | None) -> Any:
    """The figure that stands there; None without figures."""
    value: Any = whole
    for name in path if whole is not None else ():
        value = value[name]
    return value


def compared(whole: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The model and the rows beside it, one line each under a line of headings: "0.84 = 0.92 of perfect"."""
    rows = {"this model": whole, **whole["rows"]}
    best = whole["rows"].get(PERFECT)
    return [ROW_HEADINGS, *((name, *_row(row, None if row is best else best)) for name, row in rows.items())]


ROW_HEADINGS = (
    "row", "tier 1 in time", "tier 2 in time", "tier 3 in time", "false alarms / min", "slot F1 (95 %)",
    "silence right", "stops in words", "stops in looks", "false stops", "hazard AUC (95 %)", "hazard ECE",
)  # fmt: skip


def _row(row: Mapping[str, Any], best: Mapping[str, Any] | None) -> Iterator[str]:
    for tier in ("1", "2", "3"):
        path = ("recall", tier, "recall", "share")
        yield _beside(_figure(path, row), _figure(path, best))
    yield number(row["false_alarms"]["rate"]["per_minute"])
    said, seen = row["sentences"], row["seeing"]
    value, low, high = said["slot_f1"]
    highest = None if best is None else best["sentences"]["slot_f1"][0]
    yield f"{_beside(value, highest)} ({number(low)} to {number(high)})"
    yield number(said["silence_right"])
    yield number(said["stop_recall"][0])
    yield number(seen["stops"]["recall"]["share"])
    yield number(said["false_stops"][0])
    area = seen["hazards"]["auc"]
    yield "–" if area is None else "{:.3f} ({:.3f} to {:.3f})".format(*area)
    ece = seen["hazards"]["ece"]
    yield "–" if ece is None else f"{ece:.4f}"


def _beside(value: float | None, best: float | None) -> str:
    """A figure, and what it is of the perfect row's."""
    share = ratio(value, best) if value and best is not None else None
    return number(value) if share is None else f"{number(value)} = {number(share)} of perfect"


def percent(share: Mapping[str, Any]) -> str:
    """94.1 % (16 of 17; 73.0 to 99.0 %); a dash where nothing was counted."""
    if share["share"] is None:
        return "–"
    low, high = 100 * share["low"], 100 * share["high"]
    return f"{100 * share['share']:.1f} % ({share['hits']} of {share['count']}; {low:.1f} to {high:.1f} %)"


def headlines(whole: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The figures worth one line each: (name, value with its interval)."""
    recall, alarms, words = whole["recall"], whole["false_alarms"], whole["slots"]
    rate, times, spoken = alarms["rate"], whole["milliseconds"], whole["speech"]
    per_minute = spoken["words_per_minute"]
    return [
        *((f"events of tier {tier} warned of in time", percent(recall[tier]["recall"])) for tier in ("1", "2", "3")),
        ("false alarms a minute", _rate(rate, alarms)),
        ("names nothing although something is there", percent(whole["false_clear"]["model"])),
        ('"path is clear" said before a hazard', str(whole["false_clear"]["spoken"])),
        ("slot F1 of the model's sentences", _interval(words["f1"], whole["sentences"]["slot_f1"][1:])),
        ("whole instruction right", percent(words["whole"])),
        ("silence right", percent(words["silence"])),
        ("looks that show what is to stop for", percent(whole["seeing"]["stops"]["recall"])),
        ("looks that show one where there is none", percent(whole["seeing"]["stops"]["false"])),
        ("hazards: AUC, ECE (of all scores 0)", _hazards(whole["seeing"]["hazards"])),
        ("go or nothing where stop was due", percent(whole["actions"]["go_for_stop"])),
        ("mean cost of an action (0 right, 10 worst)", number(whole["actions"]["mean_cost"])),
        ("grammar kept, before the filter", percent(whole["grammar"]["raw"])),
        ("grammar kept, as spoken", percent(whole["grammar"]["filtered"])),
        ("speak / silent F1", f"{number(whole['chunks']['speak_f1'])} / {number(whole['chunks']['silent_f1'])}"),
        ("repeats within 10 s", str(spoken["repeats"])),
        ("the same words within 10 s, of another thing", str(spoken["same_words"] - spoken["repeats"])),
        ("said that it is not sure", str(spoken["unsure"])),
        ("words a minute, share of time with speech", f"{number(per_minute)}, {number(spoken['duty'])}"),
        ("calibration error (ECE)", number(whole["calibration"]["ece"])),
        ("distance left at the word for a tier-1 hazard, m", spread(recall["1"]["distance_m"])),
        ("shutter to voice, ms", spread(times["to_speech"])),
        ("one look, one wording, ms", f"{spread(times['look'])}; {spread(times['word'])}"),
    ]


def _hazards(found: Mapping[str, Any]) -> str:
    if found["auc"] is None:
        return "–"
    area, low, high = found["auc"]
    return f"{area:.3f} ({low:.3f} to {high:.3f}), {found['ece']:.4f} ({found['ece_of_zero']:.4f})"


def number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}" if abs(value) >= 10 else f"{value:.2f}"


def spread(of: Mapping[str, Any]) -> str:
    """p5, p50, p95, p99 of a Spread."""
    if not of["count"]:
        return "–"
    return ", ".join(f"{name} {number(of[name])}" for name in ("p5", "p50", "p95", "p99"))


def _rate(rate: Mapping[str, Any], alarms: Mapping[str, Any]) -> str:
    if rate["per_minute"] is None:
        return "–"
    kinds = alarms["kinds"]
    where = f"{kinds.get('absent', 0)} not there, {kinds.get('side', 0)} elsewhere"
    return (
        f"{rate['per_minute']:.2f} ({rate['count']} in {rate['minutes']:.1f} min; {rate['low']:.2f} to "
        f"{rate['high']:.2f}): {where}"
    )


def _interval(value: float | None, interval: Sequence[float] | None) -> str:
    if value is None or interval is None:
        return "–"
    return f"{value:.3f} ({interval[0]:.3f} to {interval[1]:.3f})"
