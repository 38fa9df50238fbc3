"""scripts/systemd_vm: see --help."""

from __future__ import annotations

from shared.ends import ENDS, interrupted_quietly

with interrupted_quietly():
    import argparse
    import signal
    import sys
    from pathlib import Path

    from scripts.systemd_vm import image, scenarios, sounds
    from scripts.systemd_vm.container import Container
    from scripts.systemd_vm.image import Places, say
    from scripts.systemd_vm.stage import Stage
    from shared import atomic
    from shared.clock import SystemClock
    from shared.errors import WaycueError
    from tests.pulse import PulseChild

DESCRIPTION = """\
Installs waycue into a Debian of its own, boots it with a real systemd, lets things go wrong, and writes down what is
heard and when: the sound that comes out is recorded and compared with every sentence that the device knows.

The first run takes some minutes (debootstrap, waycue's dependencies); what is there is used again. It needs root, an
apt that knows the suite, and a few programs, which it names. Nothing is left running, mounted or installed.
"""
EPILOG = """\
result: WORK/log.txt (a table for each scenario: time, event, what was heard, seconds after the event),
        WORK/heard/SCENARIO.wav (the recording) and SCENARIO.journal
status: 0 = all was as it should be; 1 = something was not, or the machine did not start
"""


def parser() -> argparse.ArgumentParser:
    parsed = argparse.ArgumentParser(
        prog="scripts/systemd_vm",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parsed.add_argument
    add("--work", type=Path, default=Path("build/systemd-vm"), metavar="DIR", help="default: %(default)s, 3 GB")
    add("--suite", default="bookworm", help="of Debian (default: %(default)s)")
    add("--mirror", default="", metavar="URL", help="default: where this machine's apt takes the suite from")
    add("--model", type=Path, metavar="DIR", help="a model bundle (default: the starter, exported here)")
    add("--only", nargs="+", choices=tuple(scenarios.ALL), metavar="NAME", help="these scenarios; see --list")
    add("--list", action="store_true", help="name the scenarios and end")
    return parsed


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    for number in ENDS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    if options.list:
        for name, scenario in scenarios.ALL.items():
            print(f"{name:18} {scenario.__doc__}")
        return 0
    try:
        places = Places(options.work.resolve())
        image.prepare(places, suite=options.suite, mirror=options.mirror, model=options.model)
        return run(places, options.only or list(scenarios.ALL))
    except WaycueError as error:
        print(f"systemd_vm: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("systemd_vm: stopped; what it started has ended.", file=sys.stderr)
        return 130


def run(places: Places, names: list[str]) -> int:
    """Play the scenarios and write the log."""
    clock = SystemClock()
    say("rendering what may be heard")
    known = sounds.known(places.root, places.work / "known")
    pulse = PulseChild(places.work / "sound")
    pulse.start()
    pulse.folder.chmod(0o755)  # the machine's accounts reach it
    (pulse.folder / "native").chmod(0o777)
    box = Container(places, pulse.folder, places.film, clock)
    lines, passed = [], 0
    try:
        with pulse.record() as so_far:
            for name in names:
                stage = Stage(name, box, so_far, known, clock)
                table = play(stage, places.work / "heard")
                print("\n".join(table), flush=True)
                lines += [*table, ""]
                passed += stage.passed
    finally:
        box.stop()
        pulse.stop()
        atomic.write_bytes(places.work / "log.txt", "\n".join(lines).encode())
    say(f"{passed} of {len(names)} scenarios were as they should be; {places.work / 'log.txt'}")
    return 0 if passed == len(names) else 1


def play(stage: Stage, folder: Path) -> list[str]:
    """One scenario on a fresh machine. Returns its table."""
    say(f"{stage.name}: {scenarios.ALL[stage.name].__doc__}")
    failure = ""
    try:
        scenarios.ALL[stage.name](stage)
    except (WaycueError, OSError) as error:
        failure = f"          WRONG  {error}"
        stage.failed = True
    folder.mkdir(parents=True, exist_ok=True)
    stage.judge(folder)
    stage.box.stop()
    return [*stage.table(), *([failure] if failure else [])]


if __name__ == "__main__":
    sys.exit(main())
