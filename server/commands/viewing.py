"""`waycue-server samples view`: the dataset as Hugging Face `datasets` loads it, made anew now."""

from __future__ import annotations

import argparse

from server.commands.opening import opened
from server.dataset import view


def add_parser(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The action."""
    parser = actions.add_parser("view", help="write the confirmed moments beside the log, for load_dataset")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write it; returns the exit status."""
    with opened(options.home) as (_store, dataset):
        dataset.create()
        splits = view.write(dataset)
    counts = ", ".join(f"{count} {name}" for name, count in sorted(splits.items()))
    print(f"{splits.total()} confirmed moments{f' ({counts})' if counts else ''} in {dataset.folder / view.NAME}")
    if splits:
        print(f'Read it: datasets.load_dataset("{dataset.folder}")')
    return 0
