"""make demo [VIDEO=path]: see `python -m scripts.demo --help`."""

from __future__ import annotations

from shared.ends import ENDS, interrupted_quietly

with interrupted_quietly():
    import argparse
    import signal
    import sys
    from pathlib import Path

    from rich.console import Console

    from scripts.demo import story, video
    from scripts.demo.screen import Screen
    from shared.errors import WaycueError


def parser() -> argparse.ArgumentParser:
    parsed = argparse.ArgumentParser(
        prog="make demo",
        description="Show the whole of waycue on this machine: a walk, flagged moments, a night, a better second walk. "
        "With --video: the first half on a video of yours. Everything runs here; nothing is sent anywhere.",
    )
    parsed.add_argument("--video", type=Path, help="a walk of yours: any video file that PyAV can read")
    parsed.add_argument(
        "--eyes", type=Path, metavar="FILE", help="the eyes' package, where there is no registry to fetch it"
    )
    parsed.add_argument(
        "--out", type=Path, default=Path("build/demo"), help="folder for all output (default %(default)s)"
    )
    parsed.add_argument("--keep-open", action="store_true", help="with --video: leave the review page up until Ctrl-C")
    return parsed


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    for number in ENDS:  # also where SIGINT is ignored, as under nohup: then it is SIGTERM that ends the demo
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    console = Console()
    try:
        with Screen(console) as screen:
            if options.video:
                return video.run(
                    options.video, options.out, screen, keep_open=options.keep_open, eyes_from=options.eyes
                )
            return story.run(options.out, screen, eyes_from=options.eyes)
    except WaycueError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo: stopped; every process it started has ended.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
