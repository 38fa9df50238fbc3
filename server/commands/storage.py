"""`waycue-server storage`: what is stored, until when the disk is enough, and what goes to make room."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from server.commands.opening import add_json, opened, print_json, size
from shared.clock import SystemClock


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command."""
    parser = commands.add_parser(
        "storage",
        help="what is stored, when the disk will be full, and what goes to make room",
        description="Counts what is stored by part, tells by the newest four weeks when the disk will be full, and what"
        " would be deleted when to keep the bounds under [space] of the settings. It changes nothing: a server that"
        " runs makes room every hour, and so does `waycue-server consent retention`.",
    )
    add_json(parser, "it")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print it."""
    from server import config as settings
    from server.admin import storage
    from server.ingest.limits import MB
    from server.privacy import making_room

    config, now_s = settings.load(options.home), SystemClock().utc_s()
    with opened(options.home) as (store, _dataset):
        used = storage.parts(options.home)
        disk = storage.outlook(store, reserve=config.limits.free_mb * MB, warn_days=config.space.warn_days)
        coming = storage.coming_a_day(store, now_s=now_s)
        told, found = making_room.standing(store), making_room.look(store, config.space, coming, now_s)
    if options.json:
        forecast = asdict(disk.forecast) if disk.forecast else None
        plain = {"used": used, "free": disk.free, "total": disk.total, "forecast": forecast, "coming_a_day": coming}
        print_json({**plain, "announced": asdict(told), "would": asdict(found)})
        return 0
    lines = [f"{name}: {size(count)}" for name, count in sorted(used.items(), key=lambda part: -part[1])]
    lines += [f"{size(sum(used.values()))} are used, {size(disk.free)} of {size(disk.total)} are free."]
    lines += [storage.in_words(disk.forecast)]
    if not config.space.bounded:
        lines.append("Nothing is deleted to make room: the settings have no bound under [space].")
    else:
        lines += making_room.in_words(found, config.space) or ["The bounds under [space] are kept; nothing is to go."]
    print("\n".join(lines))
    return 0
