"""`waycue-server stats`: how good guidance is, where it goes wrong, and what is stored."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from server.commands import stats_page
from server.commands.opening import add_json, opened, print_json, size
from server.dataset import own_words, rollups
from server.ingest import counters
from server.ingest.counters import Figures
from server.review import breakdown, figures, order, patterns, stats
from server.review.breakdown import Contributor
from server.review.patterns import ErrorPattern, MissingWord
from server.review.stats import Group, ReviewedShare, Summary
from shared import atomic
from shared.clock import SystemClock

_ODD = (
    "repeated",
    "declined",
    "refused",
    "paused",
    "limited",
    "foreign",
    "unknown",
    "wrong_hash",
    "abandoned",
    "errors",
)


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command."""
    parser = commands.add_parser(
        "stats",
        help="accuracy, error patterns, corrections and storage",
        description="Accuracy counts what people have reviewed. Only the audit stream, a uniform draw, is unbiased.",
    )
    parser.add_argument("--by", choices=("day", "week"), default="week", help="span of the course over time (week)")
    parser.add_argument("--html", type=Path, metavar="FILE", help="also write everything as one page with plots")
    add_json(parser, "everything")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the statistics of a server's home."""
    with opened(options.home) as (store, dataset):
        rollups.fill(store)
        summary, people = figures.summary(store, by=options.by), figures.contributors(store)
        groups = figures.groups(store)
        light = breakdown.by_light(order.each(store, ("reviewed",)), breakdown.light_of(dataset.blobs))
        groups |= {"by_light": light} if light else {}
        used = stats.storage(options.home)
        intake = counters.figures(store, now_s=SystemClock().utc_s())
        errors = patterns.find(order.each(store, ("reviewed",)))
        words = patterns.missing_words(order.each(store, ("pending", "rejected")))
        if options.html:
            page = stats_page.render(summary, groups, errors, words, people, blobs=dataset.blobs)
            atomic.write_bytes(options.html, page.encode())
    if options.json:
        plain = {**stats.to_dict(summary), "storage_bytes": used, "intake": asdict(intake)}
        plain |= {name: [stats.group_to_dict(group) for group in own] for name, own in groups.items()}
        plain |= {"errors": patterns.to_dict(errors, words), "contributors": [asdict(one) for one in people]}
        print_json(plain)
    else:
        lines = (
            *summary_lines(summary, used, by=options.by),
            *group_lines(groups),
            *error_lines(errors, words),
            *people_lines(people),
            *intake_lines(intake),
        )
        print("\n".join(lines))
    return 0


def group_lines(groups: Mapping[str, Sequence[Group]]) -> Iterable[str]:
    """The breakdowns in words. Pure."""
    for name, own in groups.items():
        yield from _section(stats_page.TITLES[name], own)


def error_lines(errors: Sequence[ErrorPattern], words: Sequence[MissingWord]) -> Iterable[str]:
    """The error patterns in words. Pure."""
    if errors:
        yield "\nError patterns"
    for item in errors[: stats.MOST]:
        what = f"said {item.said or 'nothing'}, right was {item.should or 'nothing'}"
        walks = f"{item.walks} walk{'s' * (item.walks != 1)}"
        yield f"  {item.count:>4} × {item.kind}: {what} (on {walks})"
        yield f"         {item.remedy}"
        yield f"         such as {', '.join(example.sample_id for example in item.examples)}"
    if words:
        yield f"\nWords of corrections that the vocabulary does not know (what they mean: {own_words.FILE} in the home)"
        yield "  " + ", ".join(f"{item.word} {item.count}" for item in words)


def people_lines(people: Sequence[Contributor]) -> Iterable[str]:
    """Who decided and corrected how much, in words. Pure."""
    if people:
        yield "\nContributors"
    width = max((len(one.name) for one in people), default=0)
    for one in people:
        decided = f"{one.confirmed} confirmed, {one.rejected} rejected"
        yield f"  {one.name:<{width}}  {decided}, {one.corrections} spoken corrections"


def intake_lines(intake: Figures) -> Iterable[str]:
    """What devices sent this week, in words. Pure."""
    if not intake.devices:
        return
    yield "\nTaken in, in seven days"
    width = max(map(len, intake.devices))
    for device, counts in sorted(intake.devices.items()):
        merged = f"{counts['records']} records, {counts['parts']} files, {size(counts['bytes'])}"
        odd = ", ".join(f"{counts[name]} {name.replace('_', ' ')}" for name in _ODD if counts[name])
        yield f"  {device:<{width}}  {merged}" + (f"; {odd}" if odd else "")
    if intake.quarantined:
        yield f"  {intake.quarantined} in quarantine: the log says why"


def summary_lines(summary: Summary, used: dict[str, int], *, by: str) -> Iterable[str]:
    """The statistics in words. Pure."""
    states = summary.states
    yield f"{sum(states.values())} moments: " + ", ".join(f"{count} {name}" for name, count in states.items())
    corrected = [walk for walk in summary.walks if walk.corrections]
    yield f"{summary.corrections} spoken corrections on {len(corrected)} walks"
    yield ""
    yield f"Accuracy on the audit stream:  {percent(summary.audit)}"
    yield "  A uniform draw of all moments: the only unbiased view."
    yield f"Accuracy of all reviewed:      {percent(summary.accuracy)}"
    yield "  Mostly moments that were flagged because something seemed wrong: it looks worse than a walk is."
    yield from _section("By what should have been said", summary.by_object)
    yield from _section("By model", summary.by_model)
    yield from _section(f"Over time, by {by}", summary.over_time)
    if summary.confusions:
        yield "\nMost common confusions (said → should have been)"
        yield from (f"  {item.count:>4} × {item.said}  →  {item.should}" for item in summary.confusions)
    if summary.missed_words:
        yield "\nWords most often missed"
        yield "  " + ", ".join(f"{word} {count}" for word, count in summary.missed_words)
    if summary.corrections:
        yield "\nCorrections by walk"
        yield from (
            f"  {walk.corrections:>4} of {walk.moments} moments  {walk.name} ({walk.split.replace('_', ' ')})"
            for walk in corrected[: stats.MOST]
        )
    yield "\nStorage"
    yield from map(_storage_line, (*used, "all"), (*used.values(), sum(used.values())))


def _storage_line(name: str, size_bytes: int) -> str:
    return f"  {name + ':':<12}{size(size_bytes):>10}"


def _section(title: str, groups: Iterable[Group]) -> Iterable[str]:
    groups = list(groups)
    if not groups:
        return
    width = max(len(group.name) for group in groups)
    yield f"\n{title}"
    for group in groups:
        audit = f"   audit {percent(group.audit)}" if group.audit.judged else ""
        yield f"  {group.name:<{width}}  {percent(group.all)}{audit}"


def percent(share: ReviewedShare) -> str:
    """62 % (8 of 13; 36 to 82 %), or that nothing was reviewed."""
    if share.rate is None or share.interval is None:
        return "nothing reviewed yet"
    low, high = share.interval
    return f"{share.rate:.0%} ({share.right} of {share.judged}; 95 % interval {low:.0%} to {high:.0%})"
