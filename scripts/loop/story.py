"""The loop, told from top to bottom: a server's home, the walks that judge, night after night, what came of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from scripts.demo.screen import Screen
from scripts.loop import caregiver, measure, plan, progress, report, site, worn
from scripts.loop.plan import NightPlan
from scripts.loop.progress import Progress
from server.evaluation import answers as evaluate
from server.evaluation.stages import Stages
from server.learn import bundles, crossed, nightly, replayed, wearer_adapters
from server.learn.eta import Eta, spoken
from server.learn.nightly import Night
from server.learn.settings import LearnSettings
from server.learn.verdict import report as night_file
from server.releases.registry import Registry
from server.review import decisions, doubts
from server.review.ranking import Ranking
from shared import atomic
from shared.clock import Clock
from shared.runtime import GuidanceModel

NIGHT = {
    "steps": 120,
    "steps_most": 120,
    "replay": 2000,
    "held_share": 0.0,
    "rate": 1e-3,
    "connector_rate": 2.5e-4,
    "head_rate": 1e-3,
}
"""Of a night of the starter, what is smaller than usual: steps and replayed frames are those of `teach now`, and so
few of them ask for half the rates: at the usual ones careful nights lost 7 of 400 drawn frames, and were refused."""
DOUBT_STEPS = 60
"""Optimiser steps of each training of the doubt."""


@dataclass(slots=True)
class Loop:
    """One run."""

    out: Path
    nights: int
    settings: LearnSettings
    screen: Screen
    clock: Clock
    done: Progress

    @property
    def home(self) -> Path:
        return self.out / "server"

    def champion(self) -> str:
        with closing(Registry(self.home)) as registry:
            return registry.champion() or ""

    def versions(self) -> list[str]:
        with closing(Registry(self.home)) as registry:
            return [model.version for model in registry.list()]

    def bundle(self, version: str) -> Path:
        with closing(Registry(self.home)) as registry:
            return registry.bundle_folder(version)


def settings(threads: int, **changes: Any) -> LearnSettings:
    return LearnSettings(**{"eyes": "none", "new_rows_least": 1, "threads": threads, **NIGHT, **changes})


def run(out: Path, nights: int, learn: LearnSettings, *, screen: Screen, clock: Clock, fresh: bool = False) -> int:
    """Returns the exit status: 1 where a bar is missed. Raises: WaycueError, OSError."""
    asked = {"nights": nights, **{name: getattr(learn, name) for name in NIGHT}}
    done = None if fresh else progress.read(out, asked)
    if done is None:
        empty(out)
        done = Progress(asked)
    atomic.make_dirs(out)
    loop, began_s, before_s = Loop(out, nights, learn, screen, clock, done), clock.monotonic_s(), done.seconds

    def save() -> None:
        done.seconds = round(before_s + clock.monotonic_s() - began_s, 1)
        done.write(out)

    with drawn_once():
        _prepare(loop, save)
        eta = Eta(nights, clock=clock.monotonic_s)
        eta.begin(len(done.nights))
        while len(done.nights) < nights:
            number = len(done.nights) + 1
            left = eta.seconds(number - 1)
            told = "" if left is None else f", about {spoken(left)} left"
            with screen.step(f"Night {number} of {nights}{report.about(plan.night(number).bad)}{told}"):
                one_night(loop, plan.night(number), save)
            done.audit = measure.audit(site.rows(loop.home), right=done.right, chunks=done.chunks)
            save()
            report.write(report.assemble(done, nights), out)
    if not done.queue:
        with screen.step("Labels that a model and their likes contradict go back to review"):
            done.queue = _queue(loop)
            screen.note(f"{done.queue['found']} mistakes among the first {done.queue['first']} of the queue")
    with screen.step("What an adapter of their own would gain each wearer"):
        found = wearer_adapters.gains(loop.home, settings=learn, progress=screen.note)
        done.adapters = {name: {**asdict(gain), "gain": gain.gain} for name, gain in found.items()}
    done.whole = True
    save()
    whole = report.assemble(done, nights)
    report.write(whole, out)
    return report.summarise(whole, out, screen.console)


def empty(out: Path) -> None:
    """Delete what another loop left, but for the drawn frames that nights replay: they are the same in each."""
    kept = replayed.folder(out / "server")
    for path in [*out.glob("*"), *(out / "server").glob("*"), *kept.parent.glob("*")]:
        if path not in (kept, *kept.parents) and path.exists():
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _prepare(loop: Loop, save: Any) -> None:
    with loop.screen.step("A home, the starter, the walks that models are judged on"):
        site.make(loop.home)
        bundles.add_starter(loop.home, eyes=loop.settings.eyes, progress=loop.screen.note, clock=loop.clock)
        for stroll in () if loop.done.judged else plan.judged():
            loop.screen.note(f"drawing {stroll.walk_id}")
            taken = worn.walked(stroll, None, day=0).kept
            site.bring(loop.home, taken, stroll.split, loop.clock)
            labels = {one.record.chunk_id: one.truth for one in taken}
            site.confirm(loop.home, labels, by=caregiver.NAME, clock=loop.clock)
        loop.done.judged = True
        save()


def one_night(loop: Loop, tonight: NightPlan, save: Any) -> None:
    """One day and its night; gone on with where it was cut off."""
    done = loop.done
    if done.begun.get("number") != tonight.number:
        done.begun = {"number": tonight.number, "champion": loop.champion(), "versions": loop.versions()}
        save()
    truths, right, chunks = _day(loop, tonight)
    about = done.truths | truths if tonight.bad else truths
    labels = caregiver.labels(about, tonight.bad, seed=tonight.number)
    loop.screen.note(f"{len(labels)} moments are labelled")
    site.confirm(loop.home, labels, by=caregiver.HELPER if tonight.bad else caregiver.NAME, clock=loop.clock)
    night = _slept(loop)
    entry = _entry(loop, tonight, night)
    entry |= {"moments": len(labels), "mistakes": sum(labels[name] != truth for name, truth in about.items())}
    if tonight.bad:
        site.throw_away(loop.home, truths, loop.clock)
        site.confirm(loop.home, done.labels, by=caregiver.NAME, clock=loop.clock)
    else:
        done.truths |= truths
        done.labels |= labels
    done.right, done.chunks = done.right + right, done.chunks + chunks
    done.nights.append(entry)
    loop.screen.note(f"{entry['decision']}: {entry['reasons'][0] if entry['reasons'] else ''}")


def _day(loop: Loop, tonight: NightPlan) -> tuple[dict[str, str], int, int]:
    """(moment → what is right of it, chunks at which devices were right, chunks)"""
    bundle = None if tonight.bad else loop.bundle(loop.done.begun["champion"])
    model = None if bundle is None else GuidanceModel.load(bundle, threads=loop.settings.threads, allow_demo=True)
    truths, right, chunks = dict[str, str](), 0, 0
    for stroll in tonight.strolls:
        loop.screen.note(f"{stroll.wearer.name} walks: {stroll.walk_id}")
        walked = worn.walked(stroll, model, day=tonight.number)
        site.bring(loop.home, walked.kept, stroll.split, loop.clock)
        truths |= {one.record.chunk_id: one.truth for one in walked.kept}
        if model is not None:
            right, chunks = right + walked.right, chunks + walked.chunks
    return truths, right, chunks


def _slept(loop: Loop) -> Mapping[str, Any]:
    """The night as it is written down; one that ended before this loop could say so is not slept again."""
    with closing(Registry(loop.home)) as registry:
        made = [model for model in registry.list() if model.version not in loop.done.begun["versions"]]
    for model in made:
        if night_file(loop.home, model.version).exists():
            return dict(model.evaluation)
    note = loop.screen.note
    stages = Stages(loop.clock, begins=lambda name: note(f"the night: {name}"))
    night = nightly.retrain(loop.home, settings=loop.settings, progress=note, stages=stages)
    return _plain(night)


def _plain(night: Night) -> dict[str, Any]:
    names = ("outcome", "reasons", "version", "samples", "seconds", "gate", "stages", "loss_first", "loss_last")
    return {name: getattr(night, name) for name in names}


def _entry(loop: Loop, tonight: NightPlan, night: Mapping[str, Any]) -> dict[str, Any]:
    """What the report says of a night: of the model that was in use before it, of the one it made, of the one after."""
    before, after = loop.done.begun["champion"], loop.champion()
    rows = site.rows(loop.home)

    def recall(version: str) -> tuple[int, int]:
        folder = loop.bundle(version)
        return measure.golden_recall(folder, loop.home / "dataset", rows, threads=loop.settings.threads)

    champion, candidate = recall(before), recall(night["version"]) if night["version"] else None
    in_use = candidate if candidate is not None and after == night["version"] else champion
    return {
        "night": tonight.number,
        "decision": night["outcome"],
        "planted_bad": bool(tonight.bad),
        "planted": tonight.bad,
        "recall_tier1": _share(in_use),
        "champion_bound": measure.bound(*champion),
        "candidate_recall_tier1": None if candidate is None else _share(candidate),
        "champion_recall_tier1": _share(champion),
        "golden_stops": champion[1],
        "version": night["version"],
        "champion_before": before,
        "champion_after": after,
        "reasons": list(night["reasons"]),
        "taught": night["samples"],
        "seconds": night["seconds"],
        "stages": dict(night["stages"]),
        "rules": measure.judged_rules(night["gate"]),
    }


def _queue(loop: Loop) -> dict[str, Any]:
    """What `samples doubt` puts first into the queue, beside the mistakes that the careful person really made."""
    crossing = crossed.Crossing(steps=DOUBT_STEPS)
    seen = crossed.witnesses(loop.home, loop.settings, crossing, progress=loop.screen.note, clock=loop.clock)
    with site.opened(loop.home) as (store, dataset):
        doubts.put_back(store, dataset, doubts.doubts(seen), now_s=loop.clock.utc_s())
        Ranking(store, dataset).refresh()
        listed = [row.sample_id for row in decisions.listing(store, limit=len(loop.done.labels))]
    return measure.queue_gain(listed, loop.done.wrong, of=len(loop.done.labels))


def _share(of: tuple[int, int]) -> float | None:
    return round(of[0] / of[1], 4) if of[1] else None


@contextmanager
def drawn_once() -> Iterator[None]:
    """The pictures that the gate draws for every night, the same each time, are drawn for the first one."""
    kept = {name: getattr(evaluate, name) for name in ("rendered_cases", "walk_cases")}
    try:
        for name, draw in kept.items():
            setattr(evaluate, name, _remembered(draw))
        yield
    finally:
        for name, draw in kept.items():
            setattr(evaluate, name, draw)


def _remembered(draw: Any) -> Any:
    remembered = cache(draw)

    def drawn(count: int, **options: Any) -> list[evaluate.Case]:
        fixed = {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}
        return list(remembered(count, **fixed))

    return drawn
