"""`waycue-server coverage`: what was recorded by where and when, against a plan, and what to record next."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from server.commands.opening import add_json, opened, print_json
from server.commands.proposing import terms
from server.dataset import surroundings
from server.labelling import conditions
from server.labelling import folder as label
from server.labelling import lines as label_lines
from server.review import coverage, coverage_page
from server.review.coverage import Cell, Coverage
from shared import atomic
from shared.clock import SystemClock
from shared.errors import Refused


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command."""
    parser = commands.add_parser(
        "coverage",
        help="what was recorded by where and when, and what to record next",
        description="Counts moments by environment, lighting, weather and scenario against a recording plan. What a"
        " person confirmed fills the plan; what is only guessed is shown beside it.",
    )
    parser.add_argument("--dataset", type=Path, metavar="DIR", help="a folder made by `label` instead of the server's")
    parser.add_argument(
        "--plan", type=Path, default=coverage.SHIPPED, metavar="FILE", help="targets as TOML (default: those shipped)"
    )
    parser.add_argument("--guess", action="store_true", help="first guess what can be told of pictures and wordings")
    parser.add_argument(
        "--model", metavar="NAME", help="of --guess: also ask a model of pictures and words, by its name on the hub"
    )
    parser.add_argument("--html", type=Path, metavar="FILE", help="also write a page with a plot")
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Count and print."""
    plan = coverage.plan_of(options.plan)
    if options.guess and options.dataset:
        raise Refused("--guess is for the server's moments.", hint="`label` guesses as it shows each chunk.")
    if options.model and not options.guess:
        raise Refused("--model is for --guess.", hint="Add --guess.")
    moments = _of_folder(options.dataset) if options.dataset else _of_server(options)
    found = coverage.covered(moments, plan)
    if options.html:
        atomic.write_bytes(options.html, coverage_page.page(found).encode())
    if options.json:
        print_json(coverage.to_dict(found))
    else:
        print("\n".join(lines(found)))
    return 0


def _of_folder(root: Path) -> list[Mapping[str, str]]:
    label.labelled(root)  # names what is missing in it
    newest = {value["frame_path"]: value for _, value in label_lines.read(root / label.LOG_NAME)}
    return [{key: text for key, text in value.items() if isinstance(text, str)} for value in newest.values()]


def _of_server(options: argparse.Namespace) -> list[Mapping[str, str]]:
    """Rejected moments teach nothing, and are not counted."""
    with opened(options.home) as (store, dataset):
        if options.guess:
            also = _asked(options.model)
            changed = surroundings.guess_all(store, dataset, dataset.rows(), now_s=SystemClock().utc_s(), also=also)
            if not options.json:
                print(f"{changed} moments have new guesses.")
        return [surroundings.fields_of(row) for row in dataset.rows() if not row.rejected]


def _asked(name: str | None) -> Callable[[NDArray[np.uint8]], surroundings.Guesses]:
    """The guesses of a model; none without a name. Raises: ConfigError."""
    if not name:
        return lambda image: {}
    from server.eyes.zero_shot import ZeroShotModel  # torch takes seconds to import

    model = ZeroShotModel(name, conditions.CHOICES)
    print(f"Model {model.name}: {terms(model.licence)}.", file=sys.stderr)
    return model.guess


def lines(found: Coverage) -> Iterator[str]:
    """The table, and what to record next. Pure."""
    yield f"{found.moments} moments.{'':27}confirmed  guessed  plan"
    field = ""
    for cell in found.cells:
        if (name := _heading(cell)) != field:
            field = name
            unknown = f" ({found.unknown[field]} not said)" if found.unknown.get(field) else ""
            yield f"\n{field.capitalize()}{unknown}"
        want = str(cell.want) if cell.want else "-"
        mark = "" if not cell.want else " ✓" if not cell.missing else f" {cell.missing} missing"
        yield f"  {cell.name:<36}{cell.confirmed:>9}{cell.guessed:>9}{want:>6}{mark}"
    yield "\nNext"
    yield from (f"  {sentence}" for sentence in coverage.next_up(found))


def _heading(cell: Cell) -> str:
    return cell.where[0][0] if len(cell.where) == 1 else "together"
