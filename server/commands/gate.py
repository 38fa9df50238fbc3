"""`waycue-server gate --explain VERSION`: every rule that a model was judged by, with figures and what to do."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from typing import Any

from server import config
from server.gate.evidence import GateDecision, Rule, RuleVerdict, Verdict, of_dict
from shared.errors import Refused


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command."""
    parser = commands.add_parser(
        "gate",
        help="why a model was promoted, is on trial, or was refused",
        description="Prints every rule of the night that made the model: figures, interval, cases, walks, verdict.",
    )
    parser.add_argument("--explain", metavar="VERSION", required=True, help="a version of `models list`")
    parser.add_argument("--json", action="store_true", help="print the rules as JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Explain one model. Raises: Refused where no gate judged it."""
    from server.releases.registry import Registry

    config.load(options.home)
    evaluation = Registry(options.home).get(options.explain).evaluation
    judged = evaluation.get("gate")
    if not isinstance(judged, Mapping) or not judged:
        raise Refused(
            f"{options.explain} was not judged by the gate.",
            hint="The starter and bundles added by hand never are; older nights kept no rules.",
        )
    if options.json:
        print(json.dumps({"version": options.explain, "champion": evaluation.get("champion", ""), **judged}, indent=1))
    else:
        print("\n".join(explained(options.explain, evaluation, of_dict(judged))))
    return 0


def explained(version: str, evaluation: Mapping[str, Any], decision: GateDecision) -> Iterator[str]:
    """In words. Pure."""
    champion = evaluation.get("champion")
    yield f"{version}: {decision.verdict}" + (f", against {champion}" if champion else "")
    for leads_to, title in (
        (Verdict.REFUSED, "Refused because"),
        (Verdict.TRIAL, "On trial because"),
        (None, "Passed, or without consequence"),
    ):
        rules = [rule for rule in decision.rules if rule.leads_to is leads_to]
        if rules:
            yield f"\n{title}"
        for rule in rules:
            sign = "FAILED" if rule.verdict is RuleVerdict.FAILED else rule.verdict
            yield f"  {rule.name} ({rule.about}): {sign}"
            yield f"    {rule.sentence}"
            yield f"    {_figures(rule)}"


def _figures(rule: Rule) -> str:
    parts = [f"{name} {_number(value)}" for name, value in rule.figures.items()]
    if rule.interval is not None:
        parts.append(f"interval {rule.interval[0]:.3f} to {rule.interval[1]:.3f}")
    if rule.bound is not None:
        parts.append(f"bound {rule.bound:g}")
    return ", ".join([*parts, f"cases {rule.cases}, walks {rule.walks}"])


def _number(value: float | int | str) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
