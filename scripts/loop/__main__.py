"""make loop: see `python -m scripts.loop --help`."""

from __future__ import annotations

from shared.ends import ENDS, interrupted_quietly

with interrupted_quietly():
    import argparse
    import logging
    import os
    import signal
    import sys
    from pathlib import Path

    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: waiting threads sleep

    from rich.console import Console

    from scripts.demo.screen import Screen
    from scripts.loop import story
    from shared.clock import SystemClock
    from shared.errors import WaycueError


def parser() -> argparse.ArgumentParser:
    parsed = argparse.ArgumentParser(
        prog="make loop",
        description="Ten nights of three wearers on drawn walks, some of them bad on purpose: what the gate lets "
        "through, what the queue finds. Exit status 1 where a bar is missed. Interrupted, it goes on where it stopped.",
    )
    parsed.add_argument("--nights", type=int, default=10, help="how many (default %(default)s)")
    parsed.add_argument("--steps", type=int, default=story.NIGHT["steps"], help="of a night (default %(default)s)")
    parsed.add_argument("--threads", type=int, default=2, help="CPU threads (default %(default)s)")
    parsed.add_argument("--fresh", action="store_true", help="begin anew instead of going on")
    parsed.add_argument(
        "--out", type=Path, default=Path("build/loop"), help="folder for all output (default %(default)s)"
    )
    return parsed


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    logging.disable(logging.INFO)
    for number in ENDS:  # also where SIGINT is ignored, as under nohup: then it is SIGTERM that ends the loop
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    learn = story.settings(options.threads, steps=options.steps, steps_most=options.steps)
    try:
        with Screen(Console()) as screen:
            return story.run(
                options.out, options.nights, learn, screen=screen, clock=SystemClock(), fresh=options.fresh
            )
    except WaycueError as error:
        print(f"loop: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("loop: stopped; run it again to go on.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
