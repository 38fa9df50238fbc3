"""waycue-server: merge what devices send, review it, retrain at night, offer better models."""

from __future__ import annotations

from shared.collector import set_aside
from shared.ends import interrupted_quietly, unread

with interrupted_quietly(), set_aside():
    import argparse
    import importlib
    import io
    import logging
    import os
    import sys
    from collections.abc import Sequence
    from pathlib import Path
    from types import ModuleType

    from server import config as settings
    from server import logs
    from server.database import ending
    from shared import printable
    from shared.clock import SystemClock
    from shared.errors import ConfigError, WaycueError

DEFAULT_HOME = Path("/var/lib/waycue")
OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130

OWN = ("init", "run")
SERVING = ("retrain", "models", "gate", "teach", "adapters", "ingest", "devices", "rollout")
DATA = (
    "samples", "export", "qved", "finetune", "label", "evaluate", "try", "stats", "storage", "coverage", "curves",
)  # fmt: skip
UPKEEP = ("accounts", "check", "consent", "database", "rescue", "broker", "keys", "telling", "vocabulary")
COMMANDS = (*SERVING, *DATA, *UPKEEP)
"""In the order of `--help`."""
MODULES = {"try": "trying"}
"""Command → its module, where the names differ."""

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


def parser(asked: Sequence[str] = ()) -> argparse.ArgumentParser:
    """The whole command line; of the commands those that `asked` may mean: half of a start would be the imports of the
    others."""
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
    for module in _modules(asked):
        module.add_parser(commands)
    return top


def _modules(asked: Sequence[str]) -> list[ModuleType]:
    """Of the commands that are named; all where none is: for help, and for what to say of a word that is none."""
    named = [] if asked[:1] in (["-h"], ["--help"]) else [name for name in (*OWN, *COMMANDS) if name in asked]
    return [_loaded(MODULES.get(name, name)) for name in named or COMMANDS if name not in OWN]


def _loaded(name: str) -> ModuleType:
    module = f"server.commands.{name}"
    if module not in sys.modules:
        with interrupted_quietly(), set_aside():
            importlib.import_module(module)
    return sys.modules[module]


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point. Returns the exit status: 0, 1 for failure, 2 for wrong use or settings, 130 for Ctrl-C."""
    # Before torch is loaded: waiting threads sleep, so that a retrain does not starve the ingest beside it.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal or log without Unicode: a sign is lost, not the command
            stream.reconfigure(errors="replace")
    with printable.guarded():
        return _run_command(argv)


def _run_command(argv: Sequence[str] | None) -> int:
    try:
        words = list(sys.argv[1:] if argv is None else argv)
        options = parser(words).parse_args(words)
        options.home = options.home.expanduser().resolve()
        logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
        with ending.closed_at_the_end():
            status: int = options.run(options)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        return unread()
    except ConfigError as error:
        return _complain(error, USAGE)
    except (WaycueError, OSError) as error:
        return _complain(error, FAILED)
    except KeyboardInterrupt:
        return _complain("stopped; nothing is lost, run it again to go on.", INTERRUPTED)
    except Exception as error:
        from server.database import trouble

        told = trouble.of(error)
        if told is None:
            raise
        return _complain(told, FAILED)


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
    with interrupted_quietly(), set_aside():
        from server.run import run

    overrides = {"broker.address": options.broker, "broker.tls": False if options.plain else None}
    overrides |= {"enrol.address": options.enrol, "web.address": options.web}
    config = settings.load(options.home, overrides)
    logs.set_up(config.log)
    if options.ready_file:
        options.ready_file.unlink(missing_ok=True)
    run(options.home, config, SystemClock(), ready_file=options.ready_file)
    return OK


def _complain(error: object, code: int) -> int:
    print(f"waycue-server: {error}", file=sys.stderr)
    return code
