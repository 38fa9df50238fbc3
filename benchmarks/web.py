"""What each page of the review costs with a hundred thousand moments and with a million.

    make bench NAME=web        prints a table and writes build/bench/web.json

A real `waycue-server run` beside a real broker, asked over loopback by one reader, one request after the other: p50 and
p95 are from the request's first byte to the answer's last. `cpu_ms` is the processor time of the server, all threads,
for one request: on a machine where others work too it says more than the clock. How busy the machine was stands under
`load` (runnable processes for each processor).

Homes are made first (benchmarks._large_home), a million moments in some minutes; --homes keeps them for the next time.
Where there are benchmarks of a reviewer's pace and of the recogniser, their figures stand in the same file.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import random
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from sqlalchemy import select

from benchmarks import _large_home
from benchmarks._served_home import Started, measured, rss_mb, served, settle
from server.database import review_tables as tables
from server.database import store as db
from server.database.store import open_store
from shared import atomic
from shared.messages import FLAGS

OUT = Path("build/bench/web.json")
SIZES = {"100k": 100_000, "1m": 1_000_000}
REQUESTS = 60
PAGE = 10
BOUND_MS = 50.0
_WORDS = ("curb", "pole", "stairs", "left", "car")
PLAIN = (
    "/batch", "/ear", "/models", "/api/choices", "/wearers", "/wearers/Wearer 1", "/people", "/metrics", "/admin",
    "/admin/devices", "/admin/models", "/admin/nights", "/admin/settings", "/admin/telling", "/admin/progress",
    "/admin/storage", "/admin/errors", "/admin/coverage", "/teach", "/wearers/Wearer 1/delete",
)  # fmt: skip
"""Asked for as they are. The last are worked out beside the server meanwhile, and come last for that."""


def main(argv: Sequence[str] | None = None) -> None:
    options = argparse.ArgumentParser(prog="python -m benchmarks.web", description=(__doc__ or "").split("\n\n")[0])
    options.add_argument("--sizes", default="100k", help=f"of {', '.join(SIZES)}, separated by commas (default 100k)")
    options.add_argument("--homes", type=Path, metavar="DIR", help="where homes are kept (default: made anew)")
    options.add_argument("--requests", type=int, default=REQUESTS, help=f"for each page (default {REQUESTS})")
    options.add_argument("--out", type=Path, default=OUT, help=f"where the figures go (default {OUT})")
    chosen = options.parse_args(argv)
    console, figures = Console(), dict[str, Any]()
    with tempfile.TemporaryDirectory() as scratch:
        homes = chosen.homes or Path(scratch)
        sizes = chosen.sizes.split(",")
        runs = {size: _run(homes / size, SIZES[size], Path(scratch), chosen.requests, console) for size in sizes}
    figures["pages"] = {size: run.pop("pages") for size, run in runs.items()}
    figures |= next(iter(runs.values())) | {"by_size": runs}
    atomic.write_json(chosen.out, figures)
    for size, pages in figures["pages"].items():
        console.print(_table(f"{size} moments", pages))
    console.print({name: figures[name] for name in ("rss_mb", "rss_peak_mb", "start_s", "start_cpu_s", "load")})
    with console.status("the reviewer's pace, and the recogniser"):
        figures |= _others()
    atomic.write_json(chosen.out, figures)


def _run(home: Path, moments: int, scratch: Path, requests: int, console: Console) -> dict[str, Any]:
    if not (home / "waycue.toml").exists():
        with console.status(f"making a home of {moments} moments"):
            _large_home.build(home, moments, own_files=False)
    asked = _paths(home, requests)
    with served(home, scratch) as server, console.status(f"asking {home.name}"):
        settle(server)
        pages = {name: asdict(measured(server, paths)) for name, paths in asked.items()}
        return {"pages": pages, **_about(server)}


def _about(server: Started) -> dict[str, float]:
    return {
        "rss_mb": round(rss_mb(server.pid), 1),
        "rss_peak_mb": round(rss_mb(server.pid, peak=True), 1),
        "start_s": round(server.first_answer_s, 2),
        "start_cpu_s": round(server.first_answer_cpu_s, 2),
        "load": round(os.getloadavg()[0] / (os.cpu_count() or 1), 1),
    }


def _paths(home: Path, requests: int) -> dict[str, list[str]]:
    """Page → what is asked for, each time something else where there is a choice."""
    draw = random.Random(7)
    table = db.samples
    with closing(open_store(home)) as store, store.reading() as connection:
        walks = list(connection.execute(select(db.walks.c.walk_id).limit(2_000)).scalars())
        ids = list(connection.execute(select(table.c.sample_id).order_by(table.c.row_id).limit(20_000)).scalars())
        counts = dict(connection.execute(select(tables.rollups.c.cell, tables.rollups.c.moments)).all())
    last = {state: counts.get(f"state:{state}", 0) // PAGE for state in ("pending", "reviewed")}

    def times(path: Callable[[], str]) -> list[str]:
        return [path() for _ in range(requests)]

    return {
        "list": times(lambda: "/"),
        "any_page": times(lambda: f"/moments?page={draw.randrange(1, last['pending'] + 1)}"),
        "any_page_reviewed": times(lambda: f"/moments?state=reviewed&page={draw.randrange(1, last['reviewed'] + 1)}"),
        "last_page": times(lambda: f"/moments?page={last['pending'] + 1}"),
        "statistics": times(lambda: "/api/stats"),
        "moment": times(lambda: f"/moments/{draw.choice(ids)}"),
        "alike": times(lambda: f"/moments/{draw.choice(ids)}/alike"),
        "around": times(lambda: f"/api/samples/{draw.choice(ids)}/near"),
        "delete": times(lambda: f"/moments/{draw.choice(ids)}/delete"),
        "api_list": times(lambda: f"/api/samples?state=all&limit=50&offset={draw.randrange(1000) * 50}"),
        "next": times(lambda: "POST /api/next"),
        "next_by_ear": times(lambda: "POST /api/ear/next"),
        "search": times(lambda: f"/moments?words={draw.choice(_WORDS)}"),
        "search_wearer": times(lambda: f"/moments?wearer=Wearer+{draw.randrange(25)}"),
        "search_device": times(lambda: f"/moments?device=device-{draw.randrange(40):03d}"),
        "search_model": times(lambda: f"/moments?model=2026-{draw.randrange(30):02d}-night-starter"),
        "search_wearer_reviewed": times(lambda: f"/moments?state=reviewed&wearer=Wearer+{draw.randrange(25)}"),
        "search_wearer_all": times(lambda: f"/moments?state=all&wearer=Wearer+{draw.randrange(25)}"),
        "search_wearer_words": times(
            lambda: f"/moments?wearer=Wearer+{draw.randrange(25)}&words={draw.choice(_WORDS)}"
        ),
        "search_two_words": times(lambda: f"/moments?words={'+'.join(draw.sample(_WORDS, 2))}"),
        "search_flag": times(lambda: f"/moments?flag={draw.choice(sorted(FLAGS))}"),
        "search_days": times(lambda: _days(draw)),
        "search_marked": times(lambda: f"/moments?marked={draw.choice(('difficult', 'commented'))}"),
        "search_walk": times(lambda: f"/moments?walk={draw.choice(walks)}"),
        **{name.strip("/").replace("/", "_"): [name] * requests for name in PLAIN},
    }


def _days(draw: random.Random) -> str:
    """A search for one to seven days of any state."""
    since = datetime.fromtimestamp(_large_home.FIRST_S, UTC).date() + timedelta(draw.randrange(350))
    until = since + timedelta(draw.randrange(7))
    return f"/moments?since={since}&until={until}&state={draw.choice(('pending', 'reviewed', 'rejected', 'all'))}"


def _others() -> dict[str, Any]:
    """Figures of the benchmarks beside this one, where they are: reviews_per_minute, recogniser."""
    found: dict[str, Any] = {}
    for module, key in (("benchmarks._reviewer", "reviews_per_minute"), ("benchmarks.recogniser", "recogniser")):
        if importlib.util.find_spec(module) is not None:
            found[key] = importlib.import_module(module).measure()
    return found


def _table(title: str, pages: dict[str, dict[str, float]]) -> Table:
    table = Table(title=title)
    for name in ("page", "p50 ms", "p95 ms", "CPU ms", f"< {BOUND_MS:.0f} ms"):
        table.add_column(name, justify="left" if name == "page" else "right")
    for name, one in pages.items():
        met = "yes" if one["p95_ms"] < BOUND_MS else "no"
        table.add_row(name, *(f"{one[key]:.1f}" for key in ("p50_ms", "p95_ms", "cpu_ms")), met)
    return table


if __name__ == "__main__":
    main()
