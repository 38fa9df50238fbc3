"""`waycue-server teach`: have a thing taught at once that people have just confirmed, and see how far that is."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from server import config
from server.review import teaching
from shared import file_lock
from shared.clock import SystemClock
from shared.errors import Refused, WaycueError


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its actions."""
    parser = commands.add_parser("teach", help="teach a thing at once that people have confirmed: now, status")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    now = actions.add_parser("now", help="train, export and judge a model for it, in fewer steps than a night's")
    now.add_argument("thing", nargs="?", default="", help="of the vocabulary; left out, what has most new moments")
    now.add_argument("--json", action="store_true", help="print what was done as JSON, progress on stderr")
    now.set_defaults(run=_now)
    status = actions.add_parser("status", help="what could be taught, and how the newest lesson stands")
    status.add_argument("--json", action="store_true", help="print it as JSON")
    status.set_defaults(run=_status)


def _now(options: argparse.Namespace) -> int:
    asked_by_page = teaching.LOCK_FD in os.environ
    with _lock(options.home):
        try:
            return _teach(options)
        except (WaycueError, OSError, MemoryError) as error:
            state = teaching.state_of(options.home)
            if asked_by_page and state.phase == teaching.RUNNING:  # else the lesson itself has written why
                why = (str(error) or type(error).__name__,)
                teaching.write(options.home, replace(state, phase=teaching.FAILED, reasons=why, eta_s=None))
            raise


def _teach(options: argparse.Namespace) -> int:
    settings = config.load(options.home)
    thing = options.thing or _most(options.home, settings.learn.teach_least)
    if not thing:
        raise Refused("No confirmed moment is new.", hint="Confirm moments of the thing on the review page first.")
    state = teaching.state_of(options.home)
    if not (state.thing == thing and state.phase in (teaching.RUNNING, teaching.INTERRUPTED)):
        teaching.check(thing, _things(options.home, settings.learn.teach_least), least=settings.learn.teach_least)
    from server.gate.settings import Bounds  # torch takes seconds to import
    from server.learn import lesson

    os.nice(lesson.NICE)

    def progress(text: str) -> None:
        print(text, file=sys.stderr if options.json else sys.stdout, flush=True)

    night = lesson.teach(
        options.home,
        thing,
        settings=settings.learn,
        bounds=Bounds(settings.gate, settings.budget),
        clock=SystemClock(),
        progress=progress,
    )
    if options.json:
        print(json.dumps(asdict(night), indent=1))
    else:
        print("\n".join([f"{night.outcome}: {night.version}", *(f"  {reason}" for reason in night.reasons)]))
    return 0


def _status(options: argparse.Namespace) -> int:
    least = config.load(options.home).learn.teach_least
    state, things = teaching.state_of(options.home), _things(options.home, least)
    if options.json:
        print(json.dumps({**asdict(state), "things": [asdict(item) for item in things]}, indent=1))
        return 0
    print("\n".join(_told(state)))
    for item in things:
        print(f"  {item.thing}: {item.new} new confirmed moments" + ("" if item.enough else f", {least} are needed"))
    return 0


def _told(state: teaching.TeachState) -> Iterator[str]:
    yield f"{state.phase}: {state.thing}" if state.thing else "Nothing has been taught at once yet."
    if state.phase == teaching.RUNNING:
        left = "" if state.eta_s is None else f", about {state.eta_s:.0f} s left"
        yield f"  {state.stage}, {100 * state.share:.0f} % done{left}"
    if state.version:
        yield f"  {state.outcome}: {state.version}, {state.seconds:.0f} s"
    yield from (f"  {reason}" for reason in state.reasons)


def _most(home: Path, least: int) -> str:
    things = _things(home, least)
    return things[0].thing if things else ""


def _things(home: Path, least: int) -> list[teaching.Teachable]:
    from server.consent import register as consent
    from server.dataset import line_log
    from server.dataset.folder import Dataset
    from server.releases.registry import Registry

    with closing(Registry(home)) as registry:
        dataset = Dataset(home / "dataset")
        agreed = consent.read(registry.store).teaches_others
        rows = list(filter(agreed, dataset.rows())) if line_log.exists(dataset.log) else []
        return teaching.teachable(rows, teaching.learnt(registry), least=least)


@contextmanager
def _lock(home: Path) -> Iterator[None]:
    """The one that the server passed on, or one's own. Raises: Transient where another lesson is taught."""
    passed = os.environ.pop(teaching.LOCK_FD, "")
    if passed:
        os.set_inheritable(int(passed), False)
        yield  # held until this process ends
        return
    with file_lock.locked(home / "teach.lock", busy=teaching.BUSY):
        yield
