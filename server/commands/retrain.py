"""`waycue-server retrain`: one night, recorded from its begin to its end."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import closing
from dataclasses import asdict

from server import config as settings
from server.commands import adapters
from shared.clock import SystemClock


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser("retrain", help="one night: train, export, judge; promoted, on trial or refused")
    parser.add_argument("--force", action="store_true", help="train also with few new verified rows")
    parser.add_argument("--json", action="store_true", help="print what was done as JSON, progress on stderr")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run a night, and after it the adapters of wearers."""
    config = settings.load(options.home)
    from server.admin import nights
    from server.database.store import open_store
    from server.evaluation.stages import Stages
    from server.gate.settings import Bounds
    from server.learn import shadow
    from server.learn.memory import HeldMemory
    from server.learn.nightly import retrain

    def progress(text: str) -> None:
        print(text, file=sys.stderr if options.json else sys.stdout, flush=True)

    bounds, clock = Bounds(config.gate, config.budget), SystemClock()
    with (
        closing(open_store(options.home)) as store,
        nights.recorded(options.home, store, clock) as record,
        HeldMemory(config.learn.memory_mb),
    ):
        night = retrain(
            options.home,
            settings=config.learn,
            bounds=bounds,
            progress=nights.telling(record, progress),
            force=options.force,
            stages=Stages(clock, begins=record.stage if record else lambda name: None),
        )
        if record is not None:
            record.end(night.outcome, version=night.version, reasons=night.reasons)
        wearers = adapters.after_night(options.home, config, json=options.json)
        challenged = shadow.after_night(options.home, config.learn, progress=progress)
    if options.json:
        print(json.dumps({**asdict(night), **wearers, "challenge": challenged}, indent=1))
    else:
        print("\n".join([f"{night.outcome}: {night.version}", *(f"  {reason}" for reason in night.reasons)]))
        if night.version:
            print(f"Every rule: waycue-server gate --explain {night.version}")
    return 0
