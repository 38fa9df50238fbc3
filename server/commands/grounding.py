"""`waycue-server models ground`: what a version's ground head is worth on real pictures with masks."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from server import config as settings
from server.commands.opening import add_json, drawn, print_json
from server.dataset import masks
from shared.errors import ConfigError

if TYPE_CHECKING:
    from server.dataset.masks import MaskFolder
    from server.evaluation.ground import Cells
    from shared.runtime import GuidanceModel

MOST = 500


def add_parser(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The action."""
    parser = actions.add_parser("ground", help="how right its ground head is on street pictures with masks, by class")
    parser.add_argument("version", help="a version of `models list`")
    parser.add_argument("--masks", type=Path, required=True, metavar="DIR", help="the folder, as `samples masks` reads")
    parser.add_argument("--layout", choices=tuple(masks.LAYOUTS), required=True, help=", ".join(masks.LAYOUTS))
    parser.add_argument("--classes", type=Path, metavar="FILE", help="a TOML file that maps their classes otherwise")
    parser.add_argument("--limit", type=int, default=MOST, metavar="N", help="at most N pictures, by lot (%(default)s)")
    parser.add_argument(
        "--training", action="store_true", help="the training split, which may have taught it, instead of the others"
    )
    add_json(parser, "every figure")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Raises: ConfigError, DatasetError, BundleError."""
    from server.evaluation import ground
    from server.releases.registry import Registry
    from shared.runtime import GuidanceModel

    settings.load(options.home)
    folder = _folder(options)
    bundle = Registry(options.home).get(options.version).bundle_folder
    model = GuidanceModel.load(bundle, threads=1, allow_demo=True)
    told, said = _looked(model, folder, limit=options.limit)
    found = {
        "version": options.version,
        "layout": folder.layout,
        "licence": folder.licence,
        **ground.report(told, said),
    }
    if options.json:
        print_json(found)
    else:
        print("\n".join([f"{folder.licence}.", *ground.lines(found)]))
    return 0


def _folder(options: argparse.Namespace) -> MaskFolder:
    from server.dataset import ground_classes

    if options.limit < 1:
        raise ConfigError("--limit must be 1 or more.")
    own = ground_classes.read_map(options.classes) if options.classes else None
    folder = masks.open_masks(options.layout, options.masks, own=own).of_split(training=options.training)
    if not len(folder):
        other = "leave --training out" if options.training else "--training judges on those, which may have taught it"
        raise ConfigError(f"{options.masks} has no pictures in such a split.", hint=f"There are others: {other}.")
    return folder


def _looked(model: GuidanceModel, folder: MaskFolder, *, limit: int) -> tuple[Cells, Cells]:
    """(what masks tell, what the model says) of each picture. Raises: ConfigError for a model without a ground head."""
    import numpy as np

    from server.dataset import mask_cells

    lot = sorted(np.random.default_rng(1).permutation(len(folder))[:limit].tolist())
    told, said, progress = [], [], drawn(len(lot), sys.stderr)
    for number, at in enumerate(lot, start=1):
        pair = folder.read(at)
        seen = model.look(pair.image).ground
        if seen is None:
            raise ConfigError(
                f"{model.manifest.version} has no ground head.",
                hint="Models that stand on eyes have one: models add eyes",
            )
        said.append(seen.ravel().astype(np.int64))
        told.append(mask_cells.told(pair.mask, len(seen)).ravel())
        progress(number)
    return np.stack(told), np.stack(said)
