"""`waycue-server finetune`: teach a base on clips with what should be said of them; an adapter comes out."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from server.commands.opening import print_json
from server.learn import clips
from server.learn.presets import PRESETS
from server.learn.tasks import EXERCISES
from server.model.topk import MOST, SELECTIONS
from shared.errors import ConfigError, Refused

if TYPE_CHECKING:
    from server.learn.tuning import Tuning

BASE = "HuggingFaceTB/SmolVLM2-500M-Video-Instruct"
_NAMED = 20


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command."""
    parser = commands.add_parser("finetune", help="teach a base on clips with what should be said of them")
    parser.add_argument(
        "dataset",
        nargs="*",
        type=Path,
        metavar="DATASET",
        help="folders of `qved convert`, `label` or `export --format conversations` (default: those of exercises under "
        "datasets/ of the server's home)",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new or empty folder for the adapter")
    parser.add_argument("--force", action="store_true", help="replace an earlier adapter in that folder")
    parser.add_argument(
        "--preset", choices=tuple(PRESETS), default="qved-stage3", help="values of the recipe (default: %(default)s)"
    )
    parser.add_argument(
        "--base",
        default=BASE,
        metavar="NAME|DIR",
        help="a SmolVLM-type checkpoint, by its name on the hub or a folder (default: %(default)s)",
    )
    parser.add_argument(
        "--projector", type=Path, metavar="FILE", help="safetensors of a connector to begin with (default: the base's)"
    )
    parser.add_argument("--epochs", type=float, metavar="N", help="instead of the preset's")
    parser.add_argument("--batch", type=int, metavar="N", help="clips of one forward pass, instead of the preset's")
    parser.add_argument("--top-k", type=int, metavar="K", help="pictures of a clip, 1 to 8, instead of the preset's")
    parser.add_argument(
        "--select",
        choices=SELECTIONS,
        default="features",
        help="how they are chosen: evenly in time, or new in their pixels, or new to the base (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print what was done as JSON, progress on stderr")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Fine-tune; returns the exit status."""
    from server.learn import tuning
    from server.model import checkpoint as checkpoints

    recipe = _recipe(options)
    tuning.check(options.out, force=options.force)
    sets = [clips.read(path) for path in _chosen(options)]
    task = clips.one_task(sets)
    _say(options, f"{sum(len(some.rows) for some in sets)} clips, task {task}: " + ", ".join(str(s.file) for s in sets))
    done = tuning.tune(
        checkpoints.load(options.base),
        sets,
        recipe,
        options.out.absolute(),
        projector=options.projector,
        progress=lambda text: _say(options, text),
    )
    for name, why in done.left_out[:_NAMED]:
        print(f"Left out: {name} ({why})", file=sys.stderr)
    if len(done.left_out) > _NAMED:
        print(f"Left out: {len(done.left_out) - _NAMED} more", file=sys.stderr)
    if options.json:
        print_json({"out": str(options.out), "rows": done.rows, "held": done.held, "losses": list(done.losses)})
    else:
        print(f"{done.rows} clips taught, {done.held} were held back; the adapter is in {options.out}")
        shown = "qved infer VIDEO --checkpoint" if task == EXERCISES else "try"
        print(f"Try it: waycue-server {shown} {options.out}{'' if task == EXERCISES else ' VIDEO'}")
    return 0


def _recipe(options: argparse.Namespace) -> Tuning:
    from server.learn.tuning import Tuning

    given = {name: getattr(options, name) for name in ("epochs", "batch", "top_k", "select")}
    recipe = Tuning.of(PRESETS[options.preset].values)
    recipe = replace(recipe, **{name: value for name, value in given.items() if value is not None})
    if not (0 < recipe.epochs <= 1000 and 1 <= recipe.batch <= 4096 and 1 <= recipe.top_k <= MOST):
        raise ConfigError(f"--epochs must be above 0, --batch 1 or more, --top-k 1 to {MOST}.")
    return recipe


def _chosen(options: argparse.Namespace) -> list[Path]:
    if options.dataset:
        return list(options.dataset)
    found = clips.included(options.home, EXERCISES)
    for path in found:
        _say(options, f"Included, for it is there: {path}")
    if not found:
        raise Refused(
            f"There is no data set of exercises under {options.home / clips.DATASETS}.",
            hint="Make one with `waycue-server qved convert LABELS`, or name a folder.",
        )
    return found


def _say(options: argparse.Namespace, text: str) -> None:
    print(text, file=sys.stderr if options.json else sys.stdout, flush=True)
