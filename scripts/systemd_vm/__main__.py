"""python -m scripts.systemd_vm: see --help."""

from __future__ import annotations

from shared.ends import ENDS, interrupted_quietly

with interrupted_quietly():
    import argparse
    import os
    import signal
    import sys
    from concurrent.futures import Future, ProcessPoolExecutor
    from pathlib import Path

    from scripts.systemd_vm import ears, image, kernel, scenarios, sounds
    from scripts.systemd_vm.container import SHARE, Container, give_share_back, own_share
    from scripts.systemd_vm.ears import Heard, Sound
    from scripts.systemd_vm.image import Places, say
    from scripts.systemd_vm.machine import Machine
    from scripts.systemd_vm.stage import Stage
    from shared import atomic
    from shared.clock import SystemClock
    from shared.errors import WaycueError
    from tests.pulse import PulseChild

DESCRIPTION = """\
Installs waycue into a Debian of its own, boots it with a real systemd, lets things go wrong, and writes down what is
heard and when: the sound that comes out is recorded and compared with every sentence that the device knows.

The first run takes some minutes (debootstrap, waycue's dependencies); what is there is used again. It needs root, an
apt that knows bookworm, and a few programs, which it names. Nothing is left running, mounted or installed.
"""
EPILOG = """\
result: WORK/log.txt (a table for each scenario: time, event, what was heard, seconds after the event),
        WORK/heard/SCENARIO.wav (the recording) and SCENARIO.journal
status: 0 = all was as it should be; 1 = something was not, or the machine did not start
"""


def parser() -> argparse.ArgumentParser:
    parsed = argparse.ArgumentParser(
        prog="python -m scripts.systemd_vm",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parsed.add_argument
    add("--work", type=Path, default=Path("build/systemd-vm"), metavar="DIR", help="default: %(default)s, 3 GB")
    add("--mirror", default="", metavar="URL", help="an archive of Debian (default: as in this machine's apt)")
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
        places, names = Places(options.work.resolve()), options.only or list(scenarios.ALL)
        image.prepare(places, mirror=options.mirror, model=options.model)
        if scenarios.OWN_KERNEL.intersection(names):
            kernel.prepare(places, mirror=options.mirror)
        return run(places, names)
    except WaycueError as error:
        print(f"systemd_vm: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("systemd_vm: stopped; what it started has ended.", file=sys.stderr)
        return 130


def run(places: Places, names: list[str]) -> int:
    """Play the scenarios and write the log. What was recorded is listened to while the next one is played."""
    clock = SystemClock()
    say("rendering what may be heard")
    known = sounds.known(places.root, places.work / "known")
    pulse = PulseChild(places.work / "sound")
    pulse.start()
    pulse.folder.chmod(0o755)  # the machine's accounts reach it
    (pulse.folder / "native").chmod(0o777)
    container, machine = Container(places, pulse.folder, places.film, clock), Machine(places, pulse.env, clock)
    played: list[tuple[Stage, Future[list[Heard]]]] = []
    try:
        with pulse.record() as so_far, ProcessPoolExecutor(1, initializer=os.setsid) as listener:
            hear_well()
            for name in names:
                stage = Stage(name, machine if name in scenarios.OWN_KERNEL else container, so_far, clock)
                recording = play(stage, places.work / "heard")
                played.append((stage, listener.submit(ears.listen, recording, known)))
    finally:
        machine.stop()
        container.stop()
        pulse.stop()
        give_share_back()
        passed = write_log([(stage, heard.result()) for stage, heard in played], places.work / "log.txt")
    say(f"{passed} of {len(names)} scenarios were as they should be; {places.work / 'log.txt'}")
    return 0 if passed == len(names) else 1


def write_log(played: list[tuple[Stage, list[Heard]]], path: Path) -> int:
    """Returns how many were as they should be."""
    lines = []
    for stage, heard in played:
        stage.judge(heard)
        lines += [*stage.table(), ""]
    print("\n".join(lines), flush=True)
    atomic.write_bytes(path, "\n".join(lines).encode())
    return len([stage for stage, _ in played if stage.passed])


def hear_well() -> None:
    """The sound server and the recorder before all others: what stutters in the recording is the machine's doing."""
    if not own_share():
        return
    for task in Path("/proc/self/task").iterdir():
        for pid in (task / "children").read_text().split():
            if Path(f"/proc/{pid}/comm").read_text().strip() in ("pulseaudio", "parec"):
                (SHARE / "cgroup.procs").write_text(pid)


def play(stage: Stage, folder: Path) -> Sound:
    """One scenario on a fresh machine. Returns what was recorded."""
    say(f"{stage.name}: {scenarios.ALL[stage.name].__doc__}")
    try:
        scenarios.ALL[stage.name](stage)
    except (WaycueError, OSError) as error:
        stage.failure = str(error)
    folder.mkdir(parents=True, exist_ok=True)
    recording = stage.keep(folder)
    stage.box.stop()
    return recording


if __name__ == "__main__":
    sys.exit(main())
