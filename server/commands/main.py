"""waycue-server: merge what devices send, review it, retrain at night, offer better models."""

from __future__ import annotations

import argparse
import io
import json
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from server import config as settings
from server.commands import (
    broker,
    check,
    devices,
    evaluate,
    export,
    gate,
    ingest,
    keys,
    label,
    rollout,
    samples,
    stats,
    vocabulary,
)
from shared.clock import SystemClock
from shared.errors import ConfigError, WaycueError

DEFAULT_HOME = Path("/var/lib/waycue")
OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130

DESCRIPTION = """\
The server side of waycue. Devices bring flagged moments and spoken corrections over MQTT; people review them on a page;
at night a model is retrained on what was confirmed, and offered to the devices if it is no worse.
"""
EPILOG = """\
first steps:
  waycue-server --home ~/waycue init
  waycue-server --home ~/waycue models add starter     a small model to begin with (for demonstrations only)
  waycue-server --home ~/waycue run
"""


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(
        prog="waycue-server",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument(
        "--home",
        type=Path,
        default=Path(os.environ.get("WAYCUE_HOME", DEFAULT_HOME)),
        metavar="DIR",
        help=f"folder of settings, database, dataset and models (default $WAYCUE_HOME or {DEFAULT_HOME})",
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    init = commands.add_parser("init", help="make the home folder, its settings and its database; safe to repeat")
    init.set_defaults(run=_init)
    run = commands.add_parser("run", help="serve: take in, transcribe, offer models, show the review page")
    run.add_argument("--broker", metavar="HOST:PORT", help="MQTT broker (broker.address)")
    run.add_argument(
        "--plain", action="store_true", help="no TLS: for a broker on this machine only, to try things out (broker.tls)"
    )
    run.add_argument("--enrol", metavar="HOST:PORT", help="where devices enrol (enrol.address)")
    run.add_argument("--web", metavar="HOST:PORT", help="where the review page is served (web.address)")
    run.add_argument("--ready-file", type=Path, metavar="FILE", help="written with the page's address once all is up")
    run.set_defaults(run=_run)
    retrain = commands.add_parser("retrain", help="one night: train, export, judge; promoted, on trial or refused")
    retrain.add_argument("--force", action="store_true", help="train also with few new verified rows")
    retrain.add_argument("--json", action="store_true", help="print what was done as JSON, progress on stderr")
    retrain.set_defaults(run=_retrain)
    _models(commands.add_parser("models", help="the models: list, add, promote, roll back"))
    for module in (
        gate,
        ingest,
        devices,
        rollout,
        samples,
        export,
        label,
        evaluate,
        stats,
        check,
        broker,
        keys,
        vocabulary,
    ):
        module.add_parser(commands)
    return top


def _models(models: argparse.ArgumentParser) -> None:
    actions = models.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="all versions, with their role and where they came from")
    listing.add_argument("--json", action="store_true", help="print them as JSON")
    listing.set_defaults(run=_models_list)
    add = actions.add_parser("add", help="register a bundle folder, or the starter that ships with waycue")
    add.add_argument("bundle", metavar="starter|DIR", help='"starter" (exported and promoted), or a bundle folder')
    add.set_defaults(run=_models_add)
    promote = actions.add_parser(
        "promote", help="make a version the champion: running servers offer it to every device"
    )
    promote.add_argument("version", help="a version of `models list`")
    promote.add_argument("--why", default="promoted by hand", help="reason for the audit log")
    promote.set_defaults(run=_models_promote)
    rollback = actions.add_parser("rollback", help="exchange champion and previous")
    rollback.add_argument("--why", default="rolled back by hand", help="reason for the audit log")
    rollback.set_defaults(run=_models_rollback)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point. Returns the exit status: 0, 1 for failure, 2 for wrong use or settings, 130 for Ctrl-C."""
    # Before torch is loaded: waiting threads sleep, so that a retrain does not starve the ingest beside it.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal or log without Unicode: a sign is lost, not the command
            stream.reconfigure(errors="replace")
    options = parser().parse_args(argv)
    options.home = options.home.expanduser().resolve()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        status: int = options.run(options)
        return status
    except ConfigError as error:
        return _complain(error, USAGE)
    except (WaycueError, OSError) as error:
        return _complain(error, FAILED)
    except KeyboardInterrupt:
        return _complain("stopped; nothing is lost, run it again to go on.", INTERRUPTED)


def _init(options: argparse.Namespace) -> int:
    from server.database.store import open_store
    from server.dataset.folder import Dataset
    from server.identity.authority import Authority
    from server.releases.signing import Release
    from server.releases.signing_keys import NOTE

    made = settings.init(options.home)
    settings.load(options.home)
    open_store(options.home).close()
    Dataset(options.home / "dataset").create()
    Authority.make(options.home, clock=SystemClock())
    release = Release.make(options.home, clock=SystemClock())
    print(f"{options.home} is {'ready' if made else 'ready as it was'}. Settings: {options.home / settings.FILE}")
    for key in release.root_keys_here():
        print(f"Move the root key away from this machine, to a USB stick in a drawer: {key}")
        print(f"Whoever has it decides which models your devices trust; {key.parent / NOTE} says when you need it.")
    return OK


def _run(options: argparse.Namespace) -> int:
    from server.run import run

    tls = False if options.plain else None
    overrides = {
        "broker.address": options.broker,
        "broker.tls": tls,
        "enrol.address": options.enrol,
        "web.address": options.web,
    }
    config = settings.load(options.home, overrides)
    if options.ready_file:
        options.ready_file.unlink(missing_ok=True)
    run(options.home, config, SystemClock(), ready_file=options.ready_file)
    return OK


def _retrain(options: argparse.Namespace) -> int:
    config = settings.load(options.home)
    from server.gate.settings import Bounds
    from server.learn.nightly import retrain

    def progress(text: str) -> None:
        print(text, file=sys.stderr if options.json else sys.stdout, flush=True)

    bounds = Bounds(config.gate, config.budget)
    night = retrain(options.home, settings=config.learn, bounds=bounds, progress=progress, force=options.force)
    if options.json:
        print(json.dumps(asdict(night), indent=1))
    else:
        print("\n".join([f"{night.outcome}: {night.version}", *(f"  {reason}" for reason in night.reasons)]))
        if night.version:
            print(f"Every rule: waycue-server gate --explain {night.version}")
    return OK


def _models_list(options: argparse.Namespace) -> int:
    from server.releases import registry

    settings.load(options.home)
    models = registry.Registry(options.home)
    roles = {models.alias(name): name for name in (registry.PREVIOUS, registry.CHALLENGER, registry.CHAMPION)}
    found = [
        {
            "version": model.version,
            "role": roles.get(model.version, ""),
            "parent": model.parent,
            "base": model.base,
            "created_at_utc": model.created_at_utc,
            "state": model.state,
            "never_judged": registry.unjudged(model),
            "evaluation": dict(model.evaluation),
        }
        for model in models.list()
    ]
    if options.json:
        print(json.dumps(found, indent=1))
    elif not found:
        print("No models yet. Begin with: waycue-server models add starter")
    for model in found if not options.json else ():
        state = "" if model["state"] == registry.REGISTERED else str(model["state"])
        never = "never judged" if model["never_judged"] else ""
        said = ", ".join(filter(None, (str(model["role"]), state, never)))
        print(f"{model['version']:<28} {said:<10} from {model['parent'] or model['base']}")
    return OK


def _models_add(options: argparse.Namespace) -> int:
    settings.load(options.home)
    if options.bundle == "starter":
        from server.learn.nightly import add_starter

        version = add_starter(options.home, progress=lambda text: print(text, flush=True))
        print(f"{version} is registered. It is a demonstration model: it must not guide a real walk.")
        return OK
    from server.releases.registry import ON_TRIAL, Registry, unjudged

    model = Registry(options.home).add(Path(options.bundle))
    if model.state == ON_TRIAL:
        print(f"{model.version} is registered, on trial: it guides nobody but wearers with a sighted companion.")
        print(f'Name them: waycue-server rollout start {model.version} --device NAME --supervised --companion "WHO"')
        return OK
    if unjudged(model):
        print(
            f"{model.version} is registered. It is made for the field, but no gate of this server has judged it, so it"
        )
        print("is offered to nobody. Let a night make one that is judged: waycue-server retrain")
        return OK
    print(f"{model.version} is registered. Offer it with: waycue-server models promote {model.version}")
    return OK


def _models_promote(options: argparse.Namespace) -> int:
    from server.releases.registry import Registry

    settings.load(options.home)
    Registry(options.home).promote(options.version, options.why)
    print(f"{options.version} is the champion; running servers offer it now.")
    return OK


def _models_rollback(options: argparse.Namespace) -> int:
    from server.releases.registry import Registry

    settings.load(options.home)
    print(f"{Registry(options.home).rollback(options.why)} is the champion again.")
    return OK


def _complain(error: object, code: int) -> int:
    print(f"waycue-server: {error}", file=sys.stderr)
    return code
