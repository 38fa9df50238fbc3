"""`waycue-server samples import`: a labelled folder, a collection of samples, or an export of ours, becomes confirmed
moments, all or none."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from exporters.datasets import collection
from exporters.datasets.collection import Collection
from server import config as settings
from server.commands import bringing, reviewing
from server.commands.bringing import FolderLook, LabelImport
from server.commands.collecting import CollectionImport
from server.commands.opening import add_reviewer, opened
from server.commands.reviewing import TerminalDesk
from server.database.store import Store
from server.dataset import layouts
from server.dataset.folder import Dataset
from server.dataset.incoming import DUPLICATES
from server.labelling.folder import LOG_NAME
from shared.clock import SystemClock
from shared.errors import Refused

_MOST_NAMED = 100


def add_parser(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The action."""
    parser = actions.add_parser("import", help="bring in a folder made by `label` or `export`, so that it teaches")
    parser.add_argument("folder", type=Path, metavar="DIR", help="its layout is found out, and said")
    add_reviewer(parser, "labelled it")
    parser.add_argument(
        "--accept-rewordings",
        action="store_true",
        help="take labels that would be taught in other words without asking; without a terminal they are left out",
    )
    parser.add_argument(
        "--leave-out-faulty",
        action="store_true",
        help="take the rest where some lines are faulty (default: nothing is taken then)",
    )
    parser.add_argument(
        "--duplicates",
        choices=DUPLICATES,
        default="last",
        help="which line counts where a moment stands there more than once (default: last, and each is named)",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Bring the folder in; returns the exit status."""
    found = None if (options.folder / LOG_NAME).is_file() else collection.find(options.folder)
    if found is not None:
        return _run_collection(options, collection.read(found))
    with opened(options.home) as (store, dataset):
        layout = layouts.find(options.folder)
        looked = bringing.look(layout, duplicates=options.duplicates)
        print(f"Found {layout.says}: {looked.moments} moments.")
        _refuse_faulty(looked, leave_out=options.leave_out_faulty)
        labels = LabelImport(_desk(options, store, dataset), layout, looked)
        confirmed = options.accept_rewordings or _rewordings_taken(labels)
        counts = labels.bring_in(confirmed=confirmed, stream=sys.stderr)
    counts.refused[:0] = looked.faults
    print("\n".join(bringing.report_lines(counts)))
    return 1 if counts.refused or counts.unconfirmed else 0


def _run_collection(options: argparse.Namespace, source: Collection) -> int:
    """Its faulty lines were refused when it was read, whatever the options say."""
    print("".join(f"{note}\n" for note in source.notes), end="", file=sys.stderr)
    with opened(options.home) as (store, dataset):
        samples = CollectionImport(_desk(options, store, dataset), source)
        confirmed = options.accept_rewordings or _rewordings_taken(samples)
        counts = samples.bring_in(confirmed=confirmed, stream=sys.stderr)
    print("\n".join(bringing.report_lines(counts)))
    return 1 if counts.refused or counts.unconfirmed else 0


def _desk(options: argparse.Namespace, store: Store, dataset: Dataset) -> TerminalDesk:
    split_by = settings.load(options.home).dataset.split_by
    return TerminalDesk(store, dataset, SystemClock(), options.reviewer, split_by=split_by)


def _refuse_faulty(looked: FolderLook, *, leave_out: bool) -> None:
    if not looked.faults or leave_out:
        return
    for fault in looked.faults[:_MOST_NAMED]:
        print(f"Faulty: {fault}", file=sys.stderr)
    raise Refused(
        f"{len(looked.faults)} lines are faulty, and nothing was taken in.",
        hint="Mend them, or take the rest with --leave-out-faulty.",
    )


def _rewordings_taken(labels: LabelImport | CollectionImport) -> bool:
    """Whether the person at the terminal confirms what labels would be taught as; without a terminal nobody does."""
    pending = labels.pending() if sys.stdin.isatty() else None
    if not pending:
        return False
    print("\n".join((f"{pending.total()} labels would be taught in other words:", *bringing.listed(pending))))
    try:
        return reviewing.confirmed("Teach these? (y/n) ")
    except EOFError:
        return False
