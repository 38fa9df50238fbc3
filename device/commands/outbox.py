"""waycue-device outbox: what waits, what was refused and why; send it again, or carry it away."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from device import config as settings
from device.config import Config
from device.outbox import inspect
from device.outbox.folder import FAILED, REASON, read_reason
from device.outbox.inspect import RecordLine
from device.outbox.outbox import Outbox
from shared.clock import Clock
from shared.errors import ConfigError, MessageError

COMMANDS = ("outbox",)
OK, PROBLEM = 0, 1
TAKE_UP_S = 5.0  # an agent that is online looks every second
POLL_S = 0.1
STATES = ("all", *inspect.STATES.values())


def add_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    outbox = commands.add_parser("outbox", help="what waits for the server, what it refused, and why")
    verbs = outbox.add_subparsers(dest="verb", required=True, metavar="COMMAND")
    listing = verbs.add_parser("list", help="every record that lies here")
    listing.add_argument("--only", choices=STATES, default="all", help="only these (default: all)")
    listing.add_argument("--lost", action="store_true", help="instead: what was given up, by name and why")
    show = verbs.add_parser("show", help="one record, part by part")
    show.add_argument("record_id", metavar="ID", help="an id of `outbox list`")
    retry = verbs.add_parser("retry", help="send refused records again")
    retry.add_argument("record_ids", nargs="*", metavar="ID", help="ids of `outbox list`")
    retry.add_argument("--all", dest="every", action="store_true", help="all that were refused")
    export = verbs.add_parser("export", help="copy whole records, each checked against its hashes")
    export.add_argument("folder", type=Path, metavar="DIR", help="where to; each record becomes a folder of its own")
    export.add_argument("record_ids", nargs="*", metavar="ID", help="ids of `outbox list` (default: all)")
    for verb in (listing, show, retry, export):
        verb.add_argument("--config", type=Path, metavar="FILE", help="settings (default: as for run)")
        verb.add_argument("--state", metavar="DIR", help="folder of the agent (device.state)")
        verb.add_argument("--json", action="store_true", help="print JSON")


def run(config: Config, arguments: argparse.Namespace, clock: Clock) -> int:
    """One of the verbs. Raises: MessageError, ConfigError, OSError."""
    folder = settings.state_folder(config) / "outbox"
    match arguments.verb:
        case "list":
            return _list(folder, arguments)
        case "show":
            return _show(folder, arguments)
        case "retry":
            return _retry(folder, arguments, clock)
        case _:
            return _export(folder, arguments)


def _list(folder: Path, arguments: argparse.Namespace) -> int:
    lines = inspect.lost(folder) if arguments.lost else inspect.waiting(folder)
    if arguments.only != "all" and not arguments.lost:
        lines = [line for line in lines if line.state == arguments.only]
    if arguments.json:
        _print_json([asdict(line) for line in lines])
    elif not lines:
        print("Nothing was given up." if arguments.lost else "Nothing lies here.")
    else:
        Console().print(_table(lines))
    return OK


def _table(lines: list[RecordLine]) -> Table:
    table = Table("record", "kind", "state", "kB", "sent", "reason", box=None)
    for line in lines:
        sent = f"{100 * line.merged_bytes // line.size_bytes} %" if line.size_bytes else ""
        table.add_row(line.record_id, line.kind, line.state, f"{line.size_bytes / 1000:.0f}", sent, line.reason)
    return table


def _show(folder: Path, arguments: argparse.Namespace) -> int:
    record = inspect.show(folder, arguments.record_id)
    if arguments.json:
        _print_json(record)
        return OK
    print(f"{record['record_id']}: {record['kind'] or 'unreadable'}, {record['state']}, in {record['folder']}")
    if record["reason"]:
        print(f"refused: {record['reason']}")
    for part in record["parts"]:
        print(f"  {part['kind']:<17} {part['size_bytes']:>9} bytes  {part['state']}")
    for name, value in record["record"].items():
        if name != "parts" and value not in ("", 0, None):
            print(f"  {name}: {value}")
    return OK


WAITS = "waits to be sent again"
ASKED = "the running agent sends it again once it is online"
GOOD = {WAITS, ASKED}


def _retry(folder: Path, arguments: argparse.Namespace, clock: Clock) -> int:
    if not arguments.record_ids and not arguments.every:
        raise ConfigError("Which ones?", hint="Name records of `waycue-device outbox list`, or say --all.")
    refused = [line.record_id for line in inspect.waiting(folder) if line.state == "refused"]
    wanted = refused if arguments.every else arguments.record_ids
    try:
        results = _retry_ourselves(folder, wanted)
    except ConfigError:  # an agent has it open: it does it
        results = _let_the_agent_retry(folder, wanted, clock)
    if arguments.json:
        _print_json(results)
    elif not results:
        print("Nothing was refused.")
    else:
        for record_id, result in results.items():
            print(f"{record_id}: {result}", file=sys.stdout if result in GOOD else sys.stderr)
    return OK if set(results.values()) <= GOOD else PROBLEM


def _retry_ourselves(folder: Path, wanted: list[str]) -> dict[str, str]:
    if not folder.is_dir():
        raise MessageError(f"There is no outbox in {folder}.", hint="Name the agent's folder with --state.")

    def retried(record_id: str) -> str:
        try:
            outbox.retry(record_id)
        except MessageError as error:
            return str(error)
        return WAITS

    with closing(Outbox(folder)) as outbox:
        return {record_id: retried(record_id) for record_id in wanted}


def _let_the_agent_retry(folder: Path, wanted: list[str], clock: Clock) -> dict[str, str]:
    notes: dict[str, Path] = {}
    results: dict[str, str] = {}
    for record_id in wanted:
        try:
            notes[record_id] = inspect.ask_retry(folder, record_id)
        except MessageError as error:
            results[record_id] = str(error)
    end_s = clock.monotonic_s() + TAKE_UP_S
    while any(note.exists() for note in notes.values()) and clock.monotonic_s() < end_s:
        clock.sleep(POLL_S)
    for record_id, note in notes.items():
        failed = folder / FAILED / record_id
        refused_again = f"refused: {read_reason(failed)}" if (failed / REASON).exists() else WAITS
        results[record_id] = ASKED if note.exists() else refused_again
    return results


def _export(folder: Path, arguments: argparse.Namespace) -> int:
    ids = arguments.record_ids or [line.record_id for line in inspect.waiting(folder) if line.state != "lost"]
    results = [_exported(folder, record_id, arguments.folder) for record_id in ids]
    if not arguments.record_ids:  # what is not here any more was sent and deleted meanwhile
        results = [result for result in results if not result["problem"] or _lies_here(folder, result["record_id"])]
    problems = list(filter(None, (result["problem"] for result in results)))
    if arguments.json:
        _print_json(results)
        return PROBLEM if problems else OK
    for problem in problems:
        print(problem, file=sys.stderr)
    size_mb = sum(result["size_bytes"] for result in results) / 1e6
    print(f"{len(results) - len(problems)} records ({size_mb:.1f} MB) in {arguments.folder}")
    return PROBLEM if problems else OK


def _exported(folder: Path, record_id: str, target: Path) -> dict[str, Any]:
    size_bytes, problem = 0, ""
    try:
        size_bytes = inspect.export(folder, record_id, target)
    except MessageError as error:
        problem = str(error)
    return {"record_id": record_id, "size_bytes": size_bytes, "problem": problem}


def _lies_here(folder: Path, record_id: str) -> bool:
    try:
        inspect.find(folder, record_id)
    except MessageError:
        return False
    return True


def _print_json(value: object) -> None:
    print(json.dumps(value, indent=1, ensure_ascii=False))
