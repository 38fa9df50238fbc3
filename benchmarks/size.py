"""What a server's home costs at a hundred thousand moments and at a million: bytes, start, check, export.

    make bench NAME=size        prints the figures and writes build/bench/size.json

The home is made first (benchmarks._large_home), or taken from --homes. A start is a real `waycue-server run` beside a
real broker until its first answer; check and export are the real commands, with the memory that they took at most.
Processor seconds stand beside the clock's: where others work on the machine they say more. The pages are measured by
`make bench NAME=web`.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import _large_home
from benchmarks._served_home import rss_mb, served
from benchmarks.web import SIZES
from server.database.store import DATABASE_NAME
from server.dataset.folder import LOG_NAME, RECORDS_NAME
from server.dataset.line_log import stored_bytes
from shared import atomic

OUT = Path("build/bench/size.json")


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command took."""

    seconds: float
    cpu_s: float
    peak_mb: float


def main(argv: Sequence[str] | None = None) -> None:
    options = argparse.ArgumentParser(prog="python -m benchmarks.size", description=(__doc__ or "").split("\n\n")[0])
    options.add_argument("--sizes", default="100k", help=f"of {', '.join(SIZES)}, separated by commas (default 100k)")
    options.add_argument("--homes", type=Path, metavar="DIR", help="where homes are kept (default: made anew)")
    options.add_argument("--out", type=Path, default=OUT, help=f"where the figures go (default {OUT})")
    chosen = options.parse_args(argv)
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for size in chosen.sizes.split(","):
            home = (chosen.homes or Path(scratch)) / size
            if not (home / "waycue.toml").exists():
                _build(home, SIZES[size], own_files=size == "100k")
            figures[size] = _figures(home, SIZES[size], Path(scratch))
            Console().print({size: figures[size]})
            atomic.write_json(chosen.out, figures)


def _build(home: Path, moments: int, *, own_files: bool) -> None:
    """In a process of its own: a child's peak of memory begins with what its parent has."""
    arguments = {"own_files": own_files}
    child = multiprocessing.get_context("spawn").Process(
        target=_large_home.build, args=(home, moments), kwargs=arguments
    )
    child.start()
    child.join()
    if child.exitcode:
        raise RuntimeError(f"The home was not made: {child.exitcode}.")


def _figures(home: Path, moments: int, scratch: Path) -> dict[str, Any]:
    with served(home, scratch) as server:
        start = {"seconds": round(server.first_answer_s, 2), "cpu_s": round(server.first_answer_cpu_s, 2)}
        start["rss_mb"] = round(rss_mb(server.pid), 1)
    check = _run(home, "check")
    export = _run(home, "export", "--format", "correction", "--out", str(scratch / f"export-{home.name}"))
    database = sum(path.stat().st_size for path in home.glob(f"{DATABASE_NAME}*"))
    logs = sum(stored_bytes(home / "dataset" / log) for log in (LOG_NAME, RECORDS_NAME))
    return {
        "start": start,
        "check": {"seconds": check.seconds, "cpu_s": check.cpu_s, "peak_mb": check.peak_mb},
        "export": {"seconds": export.seconds, "cpu_s": export.cpu_s, "peak_mb": export.peak_mb},
        "bytes_a_sample": {
            "database": round(database / moments),
            "logs": round(logs / moments),
            "both": round((database + logs) / moments),
        },
        "load": round(os.getloadavg()[0] / (os.cpu_count() or 1), 1),
    }


def _run(home: Path, *command: str) -> Ran:
    """A command, to its end. Raises: RuntimeError where it fails."""
    began_s = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "server", "--home", str(home), *command], stdout=subprocess.DEVNULL
    )
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}.")
    seconds = time.monotonic() - began_s
    return Ran(round(seconds, 1), round(used.ru_utime + used.ru_stime, 1), round(used.ru_maxrss / 1024, 1))


if __name__ == "__main__":
    main()
