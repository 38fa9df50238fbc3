"""`waycue-server check`: are database, logs and files whole, and do they say the same? With --repair: make them."""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from server import config
from server.broker import files
from server.broker.settings import BrokerSettings
from server.commands.opening import add_json, print_json, size
from server.database.store import open_store
from server.identity import certificates
from server.maintenance.check import CheckReport, check
from server.maintenance.check_display import CheckDisplay
from server.maintenance.findings import HomeFinding
from shared.clock import SystemClock

OK, WRONG = 0, 1
NAMED = 3  # of many findings of one kind; a lost database is thousands


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command."""
    parser = commands.add_parser(
        "check",
        help="are database, dataset and files whole, and do they say the same?",
        description="Reads every file and compares every hash. The exit status is 0 where all is well, or was mended "
        "without loss, and 1 where not.",
    )
    parser.add_argument(
        "--repair",
        action="store_true",
        help="mend it, each side from the other, and name what was done; no server may run meanwhile",
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on with the files where a look was cut off, with what it had found"
    )
    add_json(parser, "the findings")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Check, and tell."""
    loaded = config.load(options.home)
    with CheckDisplay() as display:
        try:
            report = check(options.home, SystemClock(), repair=options.repair, resume=options.resume, to=display.show)
        except KeyboardInterrupt:
            if not options.repair:
                print("Go on from here: waycue-server check --resume", file=sys.stderr)
            raise
    broker = _of_broker(options.home, loaded.broker) if report.well else None
    if options.json:
        print_json({**to_dict(report), "broker": broker})
    else:
        print("\n".join([*([broker] if broker else []), *report_lines(report, repair=options.repair)]))
    return OK if report.well else WRONG


def _of_broker(home: Path, settings: BrokerSettings) -> str | None:
    """What its queues lack for the devices that are enrolled, and what to do; None where nothing."""
    with closing(open_store(home)) as store:
        enrolled = certificates.count_admitted(store, now_s=SystemClock().utc_s())
    trouble = files.look(settings.files(home), enrolled, queued=settings.queued).trouble if settings.tls else None
    return f"The broker: {trouble[0]} {trouble[1]}" if trouble else None


def to_dict(report: CheckReport) -> dict[str, object]:
    """As `--json` prints it."""
    findings = []
    for finding in report.findings:
        value = {**asdict(finding), "mended": finding.mended}
        del value["remedy"]
        findings.append(value)
    counts = {name: getattr(report, name) for name in ("rows", "records", "files", "bytes")}
    return {"well": report.well, "findings": findings, **counts, "never_judged": list(report.never_judged)}


def report_lines(report: CheckReport, *, repair: bool) -> list[str]:
    """For people: what is lost one by one, many of the same kind as their number and the first few."""
    groups: dict[tuple[str, str], list[HomeFinding]] = {}
    for finding in sorted(report.findings, key=lambda finding: (finding.lost, finding.what, finding.name)):
        groups.setdefault((finding.what, finding.name if finding.lost else finding.done), []).append(finding)
    lines = [
        f"{name} is made for the field, but no gate of this server ever passed it: waycue-server retrain makes one "
        "that is judged."
        for name in report.never_judged
    ]
    lines += [line for group in groups.values() for line in _group(group)]
    read = f"{report.rows} rows, {report.records} records and {report.files} files ({size(report.bytes)}) were read."
    if not report.findings:
        return [*lines, f"All is well: {read}"]
    if not repair:
        return [*lines, read, "Mend it with: waycue-server check --repair (stop the server first)."]
    lost = sum(finding.lost for finding in report.findings)
    ending = f"Lost for good, and named above: {lost}. The rest is mended." if lost else "Everything is mended."
    return [*lines, read, ending]


def _group(findings: list[HomeFinding]) -> list[str]:
    if len(findings) <= NAMED:
        return [_line(finding) for finding in findings]
    first = findings[0]
    names = ", ".join(finding.name for finding in findings[:NAMED])
    done = f": {first.done}" if first.done else ""
    return [f"{first.what}, {len(findings)} of them{done} ({names} and others; --json names them all)"]


def _line(finding: HomeFinding) -> str:
    why = f" ({finding.why})" if finding.why else ""
    return f"{finding.what}: {finding.name}{why}" + (f": {finding.done}" if finding.done else "")
