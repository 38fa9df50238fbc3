"""Runs a fuzz target for a while: with atheris (libFuzzer, guided by coverage) where it is installed, else hypothesis.

    python -m tests.faults.fuzz.engine TARGET --seconds 30 --out build/soak/fuzz

Exit status 0: nothing found. Otherwise the input that crashes it lies in --out, to be given again with --input FILE.
A hang of 20 s or a gigabyte of memory counts as a crash, too.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # atheris must see the first import of what it watches
    from hypothesis.strategies import SearchStrategy

    from tests.faults.fuzz.target import Target

MODULES = ("network", "trusted", "web", "disk", "notes", "home", "media")  # what takes longest to import last
PACKAGE = "tests.faults.fuzz"
HANG_S, MEMORY_MB, MOST_BYTES = 20, 1500, 8192


def has_atheris() -> bool:
    return importlib.util.find_spec("atheris") is not None


def main(argv: Sequence[str]) -> int:
    """The command above."""
    parser = argparse.ArgumentParser()
    parser.add_argument("target")
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--out", type=Path, default=Path("build/soak/fuzz"))
    parser.add_argument("--input", type=Path, help="run this one input and say what happens")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(argv)
    logging.disable(logging.CRITICAL)  # every refusal logs a line: millions of them
    began_s = time.monotonic()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.input is not None:
        _target(options.target).make()(options.input.read_bytes())
        return 0
    return _atheris(options, began_s) if has_atheris() else _hypothesis(options, began_s)


def targets() -> dict[str, Target]:
    """All of them, by name."""
    return {target.name: target for target in _targets()}


def _targets() -> Iterator[Target]:
    for name in MODULES:
        yield from importlib.import_module(f"{PACKAGE}.{name}").TARGETS


def _target(name: str) -> Target:
    """Imports no more than it must: with atheris, every import takes seconds."""
    return next(target for target in _targets() if target.name == name)


def _atheris(options: argparse.Namespace, began_s: float) -> int:
    import atheris  # type: ignore[import-untyped]  # it has none

    with atheris.instrument_imports(include=["shared", "device", "server"]):
        target = _target(options.target)
    corpus = options.out / f"{options.target.replace(' ', '-')}.corpus"
    corpus.mkdir(exist_ok=True)
    for number, seed in enumerate(target.seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    run = target.make()
    arguments = [
        sys.argv[0],
        str(corpus),
        f"-max_total_time={options.seconds}",
        f"-timeout={HANG_S}",
        f"-rss_limit_mb={MEMORY_MB}",
        f"-max_len={MOST_BYTES}",
        f"-seed={options.seed}",
        "-print_final_stats=1",
        f"-artifact_prefix={corpus.with_suffix('')}-",
        "-verbosity=0",
    ]
    atheris.Setup(arguments, run)
    _say_started(began_s)
    atheris.Fuzz()  # ends the process
    return 0


def _say_started(began_s: float) -> None:
    """What imports and preparations took is not fuzzing."""
    print(f"stat::started_after_s: {time.monotonic() - began_s:.1f}", file=sys.stderr, flush=True)


def _hypothesis(options: argparse.Namespace, began_s: float) -> int:
    import hypothesis

    target = _target(options.target)
    run = target.make()
    _say_started(began_s)
    end_s = time.monotonic() + options.seconds
    count = 0

    @hypothesis.settings(
        max_examples=2000, database=None, deadline=None, suppress_health_check=list(hypothesis.HealthCheck)
    )
    @hypothesis.given(altered(target.seeds))
    def once(data: bytes) -> None:
        nonlocal count
        if time.monotonic() < end_s:
            count += 1
            run(data)

    while time.monotonic() < end_s:
        once()
    print(f"stat::number_of_executed_units: {count}", file=sys.stderr)
    return 0


def altered(seeds: Sequence[bytes]) -> SearchStrategy[bytes]:
    """Hypothesis' choice of seeds with some bytes replaced, put in or taken out, and of bytes out of nothing."""
    from hypothesis import strategies as st

    place = st.integers(0, 2000)
    edit = st.tuples(place, st.integers(0, 6), st.binary(max_size=8))

    def edited(seed: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
        for at, gone, put in edits:
            at %= len(seed) + 1
            seed = seed[:at] + put + seed[at + gone :]
        return seed

    return st.builds(edited, st.sampled_from(seeds), st.lists(edit, max_size=6)) | st.binary(max_size=200)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
