"""Is the bundle fit to be run? The export against PyTorch, its own self-test, and what it takes against the budget.

Against the budget of a kind of device, never against the champion: a field model may well be slower than a
demonstration model, and a champion that was too slow would allow the next one to be.
"""

from __future__ import annotations

from collections.abc import Iterator

from server.gate.evidence import Evidence, Export, LeadsTo, Reported, Rule
from server.gate.settings import BudgetSettings, GateSettings

HERE = "this machine"
NO_GOLDEN = "it has no golden chunks to test itself on"
"""shared.runtime.golden's words; the floors say what to do about it."""


def rules(evidence: Evidence, budget: BudgetSettings, settings: GateSettings) -> Iterator[Rule]:
    """Every rule about the bundle itself."""
    yield _parity(evidence, settings)
    yield _quantised(evidence.export, settings)
    yield _self_test(evidence)
    yield from _costs(evidence, budget)


def _parity(evidence: Evidence, settings: GateSettings) -> Rule:
    export, least = evidence.export, settings.parity_least
    if not export.parity_pictures:
        text = (
            "there is no golden or held-out picture to compare its words with PyTorch's on: add some "
            "(waycue-server samples golden add ID, waycue-server samples hold-out WALK)"
        )
        return Rule("parity", "export", "not judged", text, _missing(evidence), bound=least)
    told = f"{export.parity:.1%} of its tokens are PyTorch's, at least {least:.0%} are needed"
    common = ({"share": export.parity}, None, least, export.parity_pictures)
    needed = settings.parity_pictures
    if export.parity >= least and evidence.candidate.use != "demo" and export.parity_pictures < needed:
        text = (
            f"{told}, but on {export.parity_pictures} of the {needed} pictures that it takes to tell: add some "
            "(waycue-server samples golden add ID, waycue-server samples hold-out WALK)"
        )
        return Rule("parity", "export", "not judged", text, "trial", *common)
    if export.parity >= least:
        return Rule("parity", "export", "passed", told, "", *common)
    return Rule("parity", "export", "failed", f"only {told}: the export broke it", "refused", *common)


def _quantised(export: Export, settings: GateSettings) -> Rule:
    most = settings.slot_loss_most
    told = f"quantisation costs {export.slot_loss:.3f} of its slot F1, at most {most} is allowed"
    common = ({"loss": export.slot_loss}, None, most, export.slot_cases)
    if export.slot_cases < settings.slot_loss_cases:
        text = f"{told}; it takes {settings.slot_loss_cases} cases to tell, there are {export.slot_cases}"
        return Rule("quantisation", "export", "not judged", text, "", *common)
    if export.slot_loss <= most:
        return Rule("quantisation", "export", "passed", told, "", *common)
    text = f"{told}: keep more bits (learn.decoder_bits = 8)"
    return Rule("quantisation", "export", "failed", text, "refused", *common)


def _self_test(evidence: Evidence) -> Rule:
    unfit, figures = evidence.export.unfit, {"pictures": evidence.export.golden}
    if unfit == (NO_GOLDEN,):
        text = f"self-test: {NO_GOLDEN}: add some (waycue-server samples golden add ID)"
        return Rule("self-test", "bundle", "not judged", text, _missing(evidence), figures)
    if unfit:
        return Rule("self-test", "bundle", "failed", f"self-test: {'; '.join(unfit)}", "refused", figures)
    return Rule("self-test", "bundle", "passed", f"self-test: {evidence.export.golden} golden pictures", "", figures)


def _missing(evidence: Evidence) -> LeadsTo:
    """What follows where there is nothing to test on."""
    return "refused" if evidence.candidate.use == "demo" else "trial"


def _costs(evidence: Evidence, budget: BudgetSettings) -> Iterator[Rule]:
    """This machine is always asked, too: against the most that any kind of device is allowed."""
    cost, here_ms = evidence.cost, evidence.cost.look_p95_ms
    unmeasured: LeadsTo = "" if evidence.candidate.use == "demo" else "trial"
    reported = {one.kind: one for one in cost.reported if one.plausible(here_ms)}
    ignored = [*cost.ignored, *(one for one in cost.reported if not one.plausible(here_ms))]
    kinds = tuple(dict.fromkeys((*reported, *(one.kind for one in ignored), *cost.unknown, *budget.kinds)))
    loosest = max(budget.of(kind)[0] for kind in ("", *kinds))
    yield _look(here_ms, None, HERE, loosest, unmeasured)
    for kind in kinds or (HERE,):
        look_ms, memory_mb, bundle_mb = budget.of(kind)
        if kind != HERE:
            yield _look(here_ms, reported.get(kind), kind, look_ms, unmeasured)
        yield _size("memory", kind, cost.memory_mb, memory_mb, "peak memory of its process", unmeasured)
        yield _size("bundle size", kind, cost.bundle_mb, bundle_mb, "its bundle", unmeasured)
    for one in ignored:
        yield Rule("report", one.kind, "not judged", _cannot_be(one, here_ms), bound=None)
    for kind, versions in cost.unknown.items():
        text = (
            f"{kind} reports on {', '.join(versions)}, which cannot be run here: what a look takes there is not judged"
        )
        yield Rule("report", kind, "not judged", text)


def _cannot_be(one: Reported, here_ms: float) -> str:
    return (
        f"left out: a {one.kind} reports {one.look_p95_ms:g} ms for {one.version}, so that a look would take "
        f"{one.look_p95_ms * one.ratio / here_ms:.2g} times what it takes here. See: waycue-server devices list"
    )


def _look(here_ms: float, reported: Reported | None, kind: str, most_ms: float, unmeasured: LeadsTo) -> Rule:
    if reported is not None:
        p95_ms = reported.look_p95_ms * reported.ratio
        how = (
            f"estimated from {reported.look_p95_ms:.0f} ms that {reported.devices} of them report for "
            f"{reported.version}, of whose time it takes {reported.ratio:.2f} here"
        )
    elif here_ms > 0:
        p95_ms = here_ms
        how = "processor time on one core of this machine" + (
            "" if kind == HERE else f": no {kind} has reported its own yet"
        )
    else:
        text = f"what a look takes was not measured{_again(unmeasured)}"
        return Rule("look", kind, "not judged", text, unmeasured, bound=most_ms)
    told = f"a look takes {p95_ms:.0f} ms (p95) on {kind} ({how}); at most {most_ms:.0f} ms are allowed"
    figures: dict[str, float | int | str] = {"p95_ms": p95_ms, "here_ms": here_ms}
    if p95_ms <= most_ms:
        return Rule("look", kind, "passed", told, "", figures, bound=most_ms)
    text = f"{told}: too slow. Take a smaller base (learn.base), or raise budget.look_ms"
    return Rule("look", kind, "failed", text, "refused", figures, bound=most_ms)


def _size(name: str, kind: str, value_mb: float, most_mb: float, what: str, unmeasured: LeadsTo) -> Rule:
    setting = "budget.memory_mb" if name == "memory" else "budget.bundle_mb"
    if value_mb <= 0:
        text = f"{what} was not measured{_again(unmeasured)}"
        return Rule(name, kind, "not judged", text, unmeasured, bound=most_mb)
    told = f"{what}: {value_mb:.1f} MB, at most {most_mb:.0f} MB are allowed on {kind}"
    if value_mb <= most_mb:
        return Rule(name, kind, "passed", told, "", {"mb": value_mb}, bound=most_mb)
    text = f"{told}. Take a smaller base (learn.base), or raise {setting}"
    return Rule(name, kind, "failed", text, "refused", {"mb": value_mb}, bound=most_mb)


def _again(unmeasured: LeadsTo) -> str:
    return ": run another night (waycue-server retrain --force)" if unmeasured else ""
