"""Is the bundle fit to be run? The export against PyTorch, its own self-test, and what it takes against the budget.

Against the budget of a kind of device, never against the champion: a field model may well be slower than a
demonstration model, and a champion that was too slow would allow the next one to be.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from server.gate.evidence import Cost, DeviceReport, Evidence, Export, Rule, Verdict
from server.gate.settings import BudgetSettings, GateSettings

HERE = "this machine"
NO_GOLDEN = "it has no golden chunks to test itself on"
"""shared.runtime.golden's words; the floors say what to do about it."""
_ADD = "add some (waycue-server samples golden add ID, waycue-server samples hold-out WALK)"


def rules(evidence: Evidence, budget: BudgetSettings, settings: GateSettings) -> Iterator[Rule]:
    """Every rule about the bundle itself."""
    yield _parity(evidence, settings)
    yield _quantised(evidence.export, settings)
    yield _self_test(evidence)
    yield from _costs(evidence, budget)


def _parity(evidence: Evidence, settings: GateSettings) -> Rule:
    export, least, needed = evidence.export, settings.parity_least, settings.parity_pictures
    pictures, figures = export.parity_pictures, {"share": export.parity} if export.parity_pictures else {}
    rule = Rule("parity", "export", figures=figures, bound=least, cases=pictures)
    if not pictures:
        text = f"there is no golden or held-out picture to compare its words with PyTorch's on: {_ADD}"
        return rule.not_judged(text, evidence.untested)
    text = f"{export.parity:.1%} of its tokens are PyTorch's, at least {least:.0%} are needed"
    if export.parity < least:
        return rule.failed(f"only {text}: the export broke it", Verdict.REFUSED)
    if evidence.candidate.use != "demo" and pictures < needed:
        text += f", but on {pictures} of the {needed} pictures that it takes to tell: {_ADD}"
        return rule.not_judged(text, Verdict.TRIAL)
    return rule.passed(text)


def _quantised(export: Export, settings: GateSettings) -> Rule:
    most, figures = settings.slot_loss_most, {"loss": export.slot_loss}
    rule = Rule("quantisation", "export", figures=figures, bound=most, cases=export.slot_cases)
    text = f"quantisation costs {export.slot_loss:.3f} of its slot F1, at most {most} is allowed"
    if export.slot_cases < settings.slot_loss_cases:
        return rule.not_judged(f"{text}; it takes {settings.slot_loss_cases} cases to tell, there are {rule.cases}")
    if export.slot_loss <= most:
        return rule.passed(text)
    return rule.failed(f"{text}: keep more bits (learn.decoder_bits = 8)", Verdict.REFUSED)


def _self_test(evidence: Evidence) -> Rule:
    unfit, pictures = evidence.export.unfit, evidence.export.golden
    rule = Rule("self-test", "bundle", figures={"pictures": pictures})
    if not unfit:
        return rule.passed(f"self-test: {pictures} golden pictures")
    if unfit == (NO_GOLDEN,):
        text = f"self-test: {NO_GOLDEN}: add some (waycue-server samples golden add ID)"
        return rule.not_judged(text, evidence.untested)
    return rule.failed(f"self-test: {'; '.join(unfit)}", Verdict.REFUSED)


def _costs(evidence: Evidence, budget: BudgetSettings) -> Iterator[Rule]:
    """This machine is always asked, too: against the most that any kind of device is allowed."""
    cost, here_ms = evidence.cost, evidence.cost.look_p95_ms
    unmeasured = None if evidence.candidate.use == "demo" else Verdict.TRIAL
    reported = {report.kind: report for report in cost.reported if report.plausible(here_ms)}
    ignored = (report.kind for report in cost.implausible)
    kinds = tuple(dict.fromkeys((*reported, *ignored, *cost.unknown, *budget.kinds)))
    yield _look(here_ms, None, Rule("look", HERE, bound=max(budget.of(kind)[0] for kind in ("", *kinds))), unmeasured)
    for kind in kinds or (HERE,):
        look_ms, memory_mb, bundle_mb = budget.of(kind)
        if kind != HERE:
            yield _look(here_ms, reported.get(kind), Rule("look", kind, bound=look_ms), unmeasured)
        memory, size = Rule("memory", kind, bound=memory_mb), Rule("bundle size", kind, bound=bundle_mb)
        yield _megabytes(memory, cost.memory_mb, "peak memory of its process", "budget.memory_mb", unmeasured)
        yield _megabytes(size, cost.bundle_mb, "its bundle", "budget.bundle_mb", unmeasured)
    yield from _left_out(cost)


def _left_out(cost: Cost) -> Iterator[Rule]:
    """Reports of devices that a look is not judged by."""
    for report in cost.implausible:
        times = report.look_p95_ms * report.ratio / cost.look_p95_ms
        text = (
            f"left out: a {report.kind} reports {report.look_p95_ms:g} ms for {report.version}, so that a look would "
            f"take {times:.2g} times what it takes here. See: waycue-server devices list"
        )
        yield Rule("report", report.kind).not_judged(text)
    for kind, versions in cost.unknown.items():
        text = f"{kind} reports on {', '.join(versions)}, which cannot be run here: what a look takes there is not"
        yield Rule("report", kind).not_judged(f"{text} judged")


def _look(here_ms: float, report: DeviceReport | None, rule: Rule, unmeasured: Verdict | None) -> Rule:
    p95_ms, how = here_ms, "processor time on one core of this machine"
    if report is not None:
        p95_ms = report.look_p95_ms * report.ratio
        how = (
            f"estimated from {report.look_p95_ms:.0f} ms that {report.devices} of them report for {report.version}, of "
            f"whose time it takes {report.ratio:.2f} here"
        )
    elif rule.about != HERE:
        how += f": no {rule.about} has reported its own yet"
    if report is None and here_ms <= 0:
        return _unmeasured(rule, "what a look takes", unmeasured)
    rule = replace(rule, figures={"p95_ms": p95_ms, "here_ms": here_ms})
    assert rule.bound is not None
    text = f"a look takes {p95_ms:.0f} ms (p95) on {rule.about} ({how}); at most {rule.bound:.0f} ms are allowed"
    if p95_ms <= rule.bound:
        return rule.passed(text)
    return rule.failed(f"{text}: too slow. Take a smaller base (learn.base), or raise budget.look_ms", Verdict.REFUSED)


def _megabytes(rule: Rule, value_mb: float, what: str, setting: str, unmeasured: Verdict | None) -> Rule:
    if value_mb <= 0:
        return _unmeasured(rule, what, unmeasured)
    rule = replace(rule, figures={"mb": value_mb})
    assert rule.bound is not None
    text = f"{what}: {value_mb:.1f} MB, at most {rule.bound:.0f} MB are allowed on {rule.about}"
    if value_mb <= rule.bound:
        return rule.passed(text)
    return rule.failed(f"{text}. Take a smaller base (learn.base), or raise {setting}", Verdict.REFUSED)


def _unmeasured(rule: Rule, what: str, unmeasured: Verdict | None) -> Rule:
    again = ": run another night (waycue-server retrain --force)" if unmeasured else ""
    return rule.not_judged(f"{what} was not measured{again}", unmeasured)
