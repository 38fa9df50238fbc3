"""Adapters of single wearers: after a night, each wearer's confirmed moments are fitted beside the champion.

    rows of the dataset → wearers, each with devices, moments that teach and moments that are held out
    → what the champion makes of the pictures, once → fit (server.learn.wearer_fit)
    → the champion's bundle with one file more → judged on the wearer's held-out walks (server.gate.wearers)
    → better: offered to that wearer's devices alone (server.releases.wearers); else they keep the champion

    gains(home, settings=…)   {wearer: WearerGain}: fits and judges, and changes nothing
    run(home, settings=…)     {wearer: WearerOutcome}: the same, and offers what is better

A wearer is who the moments say (`device.wearer`), or the device where they say nobody. A device belongs to the wearer
of its newest moment. What was fitted already is not fitted again until the champion or the moments are others.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from exporters.onnx.wearer import write_adapter
from server.consent import register as consent
from server.consent.terms import Consents
from server.dataset import material
from server.dataset.folder import Dataset
from server.dataset.sample_row import SampleRow
from server.dataset.teaching import training_rows
from server.evaluation import answers as evaluate
from server.evaluation.answers import Case
from server.evaluation.facts import REAL
from server.gate import cases
from server.gate import wearers as rules
from server.gate.evidence import CaseScore, Evidence, Export, GateDecision, Rule, Scores, Verdict
from server.gate.judge import walk_scores
from server.gate.settings import GateSettings
from server.gate.wearers import WearerGain
from server.learn import adapters, bases, lineage, tonight
from server.learn.settings import LearnSettings
from server.learn.wearer_fit import DecoderWords, FitPlan, LookedMoments, fit, joined, look_at
from server.model.guide import Guide
from server.releases import wearers
from server.releases.registry import Registry
from server.releases.wearers import WearerVersion
from shared import atomic
from shared import bundle as bundles
from shared.bundle import WEARER_ADAPTER
from shared.calibration import Calibration
from shared.clock import Clock, SystemClock
from shared.errors import ConfigError
from shared.runtime import GuidanceModel, check_golden

REPORT = "wearers.json"
ROWS_LEAST = 40
"""Confirmed moments that teach, below which nothing is fitted: a quarter of them only chooses."""
OTHERS_MOST = 400
"""Moments of other wearers that are shown beside."""
OFFERED, NOT_BETTER, TOO_FEW = "offered", "not better", "too few"
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class WearerOutcome:
    """What became of one wearer's adapter."""

    outcome: str
    """OFFERED, NOT_BETTER or TOO_FEW."""
    reason: str
    version: str = ""
    gain: WearerGain | None = None
    """None where nothing was fitted."""
    rows: int = 0
    key: str = ""
    """Names all that it was made from."""


@dataclass(frozen=True, slots=True)
class Wearer:
    """One wearer, as the dataset has them."""

    name: str
    devices: tuple[str, ...]
    teaching: Sequence[SampleRow]
    held: Sequence[SampleRow]


@dataclass(frozen=True, slots=True)
class AdaptedChampion:
    """What is adapted."""

    version: str
    folder: Path
    model: GuidanceModel
    words: DecoderWords | None


@dataclass(frozen=True, slots=True)
class AdapterBench:
    """What fitting and judging need beside a wearer."""

    registry: Registry
    settings: LearnSettings
    gate: GateSettings
    view: tonight.DatasetView
    champion: AdaptedChampion
    progress: Progress
    began_utc: float
    consents: Consents
    """The view has moments of wearers who let them teach their own adapter alone."""
    looked: dict[str, LookedMoments] = field(default_factory=dict)
    """Wearer → their moments that teach, as the champion sees them."""
    answered: list[tuple[list[Case], tuple[CaseScore, ...]]] = field(default_factory=list)
    """All that is held out, and the champion's answers, once they were asked for."""

    @property
    def work(self) -> Path:
        return self.registry.home / "nights" / "wearers"

    @property
    def senses(self) -> material.Senses:
        model = self.champion.model
        return material.Senses(before=model.language.frames == 2, sound=model.language.hears)


@dataclass(frozen=True, slots=True)
class JudgedAdapter:
    """A fitted adapter, and how it does."""

    gain: WearerGain
    decision: GateDecision


def gains(
    home: Path, *, settings: LearnSettings, gate: GateSettings | None = None, progress: Progress = print
) -> dict[str, WearerGain]:
    """Wearer → what an adapter of their own changes on their held-out moments, with its interval; changes nothing.

    Without those who have too few moments. An adapter that does no better while it is fitted is none: its gain is 0.
    What a run judged already, of the same moments and champion, is taken from its report.
    raises: Transient where a night is running; ConfigError, BundleError, OSError
    """
    with tonight.single_flight(home):
        bench = _bench(home, settings, gate or GateSettings(), progress, SystemClock())
        if bench is None:
            return {}
        before = _report(home)
        found = {each.name: _gain(bench, each, before.get(each.name)) for each in people(bench.view)}
        atomic.remove_tree(bench.work)
    return {name: gain for name, gain in found.items() if gain is not None}


def _withdraw(bench: AdapterBench) -> None:
    """Wearers who no longer let their moments teach have no adapter, and teach nobody else's."""
    for model in bench.registry.list():
        whose = wearers.of(model)
        in_force = whose is not None and bench.registry.alias(wearers.PREFIX + whose.name) == model.version
        if whose is not None and in_force and not bench.consents.of(whose.name).teach:
            wearers.withdraw(bench.registry, whose.name, "the wearer does not agree to it any more")
            bench.progress(f"{whose.name}: the adapter was deleted, the wearer does not agree to it any more")


def _gain(bench: AdapterBench, wearer: Wearer, before: WearerOutcome | None) -> WearerGain | None:
    if _too_few(wearer):
        return None
    if before is not None and before.gain is not None and before.key == _key(bench, wearer):
        return before.gain
    return _fitted_and_judged(bench, wearer)[0].gain


def run(
    home: Path,
    *,
    settings: LearnSettings,
    gate: GateSettings | None = None,
    progress: Progress = print,
    force: bool = False,
    clock: Clock | None = None,
) -> dict[str, WearerOutcome]:
    """Fit and judge what is new, and offer what is better. Returns every wearer's outcome.

    force: also what was judged before
    raises: Transient where a night is running; ConfigError, DatasetError, BundleError, OSError
    """
    with tonight.single_flight(home), tonight.room(home), tonight.stoppable(progress) as progress:
        bench = _bench(home, settings, gate or GateSettings(), progress, clock or SystemClock())
        if bench is None:
            return {}
        wearers.tidy(bench.registry)
        _withdraw(bench)
        before = {} if force else _report(home)
        outcomes = {each.name: _outcome(bench, each, before.get(each.name)) for each in people(bench.view)}
        atomic.remove_tree(bench.work)
        atomic.write_json(home / "nights" / REPORT, {name: asdict(outcome) for name, outcome in outcomes.items()})
        return outcomes


def people(view: tonight.DatasetView) -> list[Wearer]:
    """The wearers of the dataset, by name. Pure."""
    listed = sorted(view.rows, key=lambda row: row.timestamp)
    owner, teaching, held = view.worn_by, training_rows(listed), cases.held_out(listed)
    found = []
    for name in sorted({_who(row) for row in (*teaching, *held)}):
        mine = [row for row in teaching if _who(row) == name]
        devices = sorted({row.device for row in mine if owner[row.device] == name})
        found.append(Wearer(name, tuple(devices), mine, [row for row in held if _who(row) == name]))
    return found


def _who(row: SampleRow) -> str:
    return row.speaker_id or row.device


def _too_few(wearer: Wearer) -> str:
    """Why nothing is fitted, "" = enough."""
    if len(wearer.teaching) < ROWS_LEAST:
        return f"{len(wearer.teaching)} confirmed moments teach, {ROWS_LEAST} are needed"
    if not wearer.held:
        return "none of the wearer's walks is held out to judge on: waycue-server samples hold-out WALK"
    return "" if wearer.devices else "the wearer's devices are worn by others now"


# --- one wearer ---


def _outcome(bench: AdapterBench, wearer: Wearer, before: WearerOutcome | None) -> WearerOutcome:
    why = _too_few(wearer)
    if why:
        return WearerOutcome(TOO_FEW, why, rows=len(wearer.teaching))
    key = _key(bench, wearer)
    in_force = bench.registry.alias(wearers.PREFIX + wearer.name)
    if before is not None and before.key == key and before.version == (in_force or ""):
        return before
    bench.progress(f"{wearer.name}: fitting an adapter to {len(wearer.teaching)} confirmed moments")
    judged, folder = _fitted_and_judged(bench, wearer)
    reason = judged.decision.reasons[0]
    done = WearerOutcome(NOT_BETTER, reason, "", judged.gain, len(wearer.teaching), key)
    if not judged.decision.accepted or folder is None:
        if in_force is not None:
            wearers.withdraw(bench.registry, wearer.name, f"fitted anew and not better: {reason}")
        bench.progress(f"{wearer.name}: none, {reason}")
        return done
    version = _offer(bench, wearer, judged, folder)
    bench.progress(f"{wearer.name}: {version} is offered, {reason}")
    return replace(done, outcome=OFFERED, version=version)


def _offer(bench: AdapterBench, wearer: Wearer, judged: JudgedAdapter, folder: Path) -> str:
    gain = judged.gain
    whose = WearerVersion(
        wearer.name,
        wearer.devices,
        bench.champion.version,
        len(wearer.teaching),
        bench.began_utc,
        round(gain.gain, 5),
        round(gain.low, 5),
        round(gain.high, 5),
        gain.cases,
        gain.walks,
    )
    evaluation = {"gate": judged.decision.to_dict(), "champion": bench.champion.version}
    return wearers.add(bench.registry, folder, whose, evaluation).version


def _fitted_and_judged(bench: AdapterBench, wearer: Wearer) -> tuple[JudgedAdapter, Path | None]:
    """(how it does, its bundle; None where nothing did better than no adapter)."""
    manifest = bench.champion.model.manifest
    own, others = _looked(bench, wearer), _others(bench, wearer)
    plan = FitPlan(
        tuple(map(str, manifest.model["objects"])), Calibration.from_dict(manifest.model.get("calibration", {}))
    )
    if len(own) < ROWS_LEAST:  # their pictures are damaged, or far from all that the heads were taught on
        return _judged(bench, wearer, None), None
    fitted = fit(own, others, plan, words=bench.champion.words)
    folder = None if fitted.is_none else _bundle(bench, fitted.weights)
    return _judged(bench, wearer, folder), folder


def _looked(bench: AdapterBench, wearer: Wearer) -> LookedMoments:
    if wearer.name not in bench.looked:
        chosen = cases.cases(
            bench.view.folder, [(row, REAL) for row in wearer.teaching], bench.senses, progress=bench.progress
        )
        bench.looked[wearer.name] = look_at(bench.champion.model, chosen)
    return bench.looked[wearer.name]


def _others(bench: AdapterBench, wearer: Wearer) -> LookedMoments:
    """Moments of other wearers who agreed to that, drawn evenly; none where there is nobody else."""
    others = [each for each in people(bench.view) if each.name != wearer.name and each.teaching]
    found = [_looked(bench, each) for each in others if bench.consents.of(each.name).for_others]
    everyone = _looked(bench, wearer).some([])
    for each in found:
        everyone = joined(everyone, each)
    order = np.random.default_rng(len(everyone)).permutation(len(everyone))[:OTHERS_MOST]
    return everyone.some(order.tolist())


def _bundle(bench: AdapterBench, weights: Mapping[str, Any]) -> Path:
    """The champion's bundle with the adapter in it. Raises: BundleError, OSError."""
    champion, folder = bench.champion, bench.work / "bundle"
    atomic.remove_tree(folder)
    wearers.linked(champion.folder, folder, but=(bundles.MANIFEST_NAME, bundles.BLOCKS_NAME, WEARER_ADAPTER))
    write_adapter(weights, folder / WEARER_ADAPTER)
    version = wearers.version_name(champion.version, atomic.sha256_file(folder / WEARER_ADAPTER))
    like = champion.model.manifest
    bundles.write_bundle(
        folder, replace(like, version=version, parent=champion.version, created_at_utc=bench.began_utc, evaluation={})
    )
    return folder


def _judged(bench: AdapterBench, wearer: Wearer, folder: Path | None) -> JudgedAdapter:
    """On the wearer's held-out moments and walks; things to stop for on all that is held out."""
    chosen, theirs = _held_out(bench, wearer)
    ours = theirs if folder is None else _scores(bench, folder, chosen)
    own = frozenset(row.sample_id for row in wearer.held)
    old, new = ([case for case in some if case.case_id in own] for some in (theirs, ours))
    gain = rules.gain_of(old, new, bench.gate)
    if folder is None:
        nothing = Rule("better while it was fitted", "their walks that chose").failed(
            "nothing that was fitted did better on the walks that chose than no adapter", Verdict.REFUSED
        )
        return JudgedAdapter(gain, GateDecision(Verdict.REFUSED, (nothing,)))
    models = [_loaded(bench, each) for each in (bench.champion.folder, folder)]
    courses = [(course, REAL) for course in cases.courses(bench.view.folder, wearer.held)]
    driven = walk_scores(models, courses, progress=bench.progress)
    use = models[0].manifest.intended_use
    evidence = Evidence(
        Scores(models[1].manifest.version, use, tuple(new), driven[1]),
        Scores(bench.champion.version, use, tuple(old), driven[0]),
        export=Export(unfit=tuple(check_golden(folder, threads=bench.settings.threads))),
        known_to_champion=cases.known_to(bench.view.rows, lineage.samples(bench.registry, bench.champion.version)),
    )
    return JudgedAdapter(gain, rules.decide(evidence, everywhere=(theirs, ours), settings=bench.gate))


def _held_out(bench: AdapterBench, wearer: Wearer) -> tuple[list[Case], tuple[CaseScore, ...]]:
    """All that is held out and may judge this wearer's adapter, with the champion's answers."""
    held = cases.held_out(bench.view.rows)
    may = {row.sample_id for row in held if _who(row) == wearer.name or bench.consents.teaches_others(row)}
    chosen, theirs = _all_held_out(bench)
    return [case for case in chosen if case.case_id in may], tuple(case for case in theirs if case.case_id in may)


def _all_held_out(bench: AdapterBench) -> tuple[list[Case], tuple[CaseScore, ...]]:
    if not bench.answered:
        everything = [(row, REAL) for row in cases.held_out(bench.view.rows)]
        chosen = list(cases.cases(bench.view.folder, everything, bench.senses, progress=bench.progress))
        bench.answered.append((chosen, _scores(bench, bench.champion.folder, chosen)))
    return bench.answered[0]


def _scores(bench: AdapterBench, folder: Path, chosen: Sequence[Case]) -> tuple[CaseScore, ...]:
    answers = evaluate.run(folder, chosen, threads=bench.settings.threads)
    return rules.served(answers, bundles.read_manifest(folder).thresholds)


def _loaded(bench: AdapterBench, folder: Path) -> GuidanceModel:
    return GuidanceModel.load(folder, threads=bench.settings.threads, allow_demo=True)


# --- what all of them share ---


def _bench(
    home: Path, settings: LearnSettings, gate: GateSettings, progress: Progress, clock: Clock
) -> AdapterBench | None:
    """None where there is nothing to adapt."""
    registry, began_utc = Registry(home, clock=clock), clock.utc_s()
    version = registry.champion()
    if version is None:
        return None
    folder = registry.bundle_folder(version)
    model = GuidanceModel.load(folder, threads=settings.threads, allow_demo=True)
    if not model.shows_tokens:
        progress(f"{version} makes no image tokens at its looks: no adapter can stand on it")
        return None
    consents = consent.read(registry.store)
    view = tonight.view_of(Dataset(home / "dataset"), blurred=settings.blurred, allowed=consents.teaches)
    champion = AdaptedChampion(version, folder, model, _words(registry, version, settings, progress))
    return AdapterBench(registry, settings, gate, view, champion, progress, began_utc, consents)


def _words(registry: Registry, version: str, settings: LearnSettings, progress: Progress) -> DecoderWords | None:
    """The champion in PyTorch: its base with the night's adapter, or the starter as it ships."""
    folder = registry.get(version).folder / "adapter"
    try:
        if adapters.is_adapter(folder):
            checkpoint = adapters.load(folder, registry.home, progress=progress)
        else:
            checkpoint = bases.starter(settings.eyes, registry.home, progress)
            if checkpoint.name != version:
                raise ConfigError(f"{version} came without the adapter that it was merged from.")
    except ConfigError as error:
        progress(f"only hazard scores are fitted, no words: {error}")
        return None
    return DecoderWords(Guide(checkpoint), checkpoint.answer_ids)


def _key(bench: AdapterBench, wearer: Wearer) -> str:
    held = lineage.identities(cases.held_out(bench.view.rows))
    others = sorted(name for name in {_who(row) for row in bench.view.rows} if bench.consents.of(name).for_others)
    said = [
        others,
        bench.champion.version,
        wearer.name,
        wearer.devices,
        lineage.identities(wearer.teaching),
        held,
        lineage.code(),
    ]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]


def _report(home: Path) -> dict[str, WearerOutcome]:
    """What the last run came to; nothing where that cannot be read."""
    try:
        value = json.loads((home / "nights" / REPORT).read_bytes())
        return {str(name): _outcome_of(entry) for name, entry in value.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _outcome_of(entry: Mapping[str, Any]) -> WearerOutcome:
    gain = entry.get("gain")
    return WearerOutcome(**{**entry, "gain": None if gain is None else WearerGain(**gain)})
