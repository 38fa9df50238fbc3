"""What a training leaves behind to go on from: saves that are whole and durable, or dropped.

A save holds what is taught alone: the rest is the base's, which lies there anyway (of a 256M base a save is 60 MB
instead of 1 GB).

The trainer writes a save file by file into its final folder. One that a kill or power cut left half done must neither
be trained on from nor stand in the way of later nights:

    checkpoint-60/…     written by the trainer → every file synced → whole.json with their hashes → older saves removed
    checkpoint-120/…    no whole.json, or another hash: dropped when the night starts again
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from transformers import Trainer, TrainerCallback

from shared import atomic
from shared.errors import DatasetError

MARK = "whole.json"
_SAVE = re.compile(r"checkpoint-(\d+)")


class Saves(TrainerCallback):
    """Seals each save of the trainer. Raises: OSError."""

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        folder = Path(args.output_dir)
        seal(folder / f"checkpoint-{state.global_step}")
        atomic.remove_trees(old for step, old in _saves(folder) if step < state.global_step)


class TaughtOnly(Trainer):
    """A trainer whose saves hold what is taught alone."""

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        super()._save(output_dir, self._taught() if state_dict is None else state_dict)

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """Missing are the base's own weights, and no other."""
        lost = [*(self._taught().keys() & set(load_result.missing_keys)), *load_result.unexpected_keys]
        if lost:
            raise DatasetError(f"A save of this training does not fit it: {', '.join(sorted(lost)[:3])}.")

    def _taught(self) -> dict[str, Any]:
        model: Any = self.model
        taught = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        return {name: weight for name, weight in model.state_dict().items() if name in taught}


def seal(save: Path) -> None:
    """Make a save durable and mark it as whole. Raises: OSError."""
    files = sorted(file for file in save.iterdir() if file.is_file())
    for file in files:
        fd = os.open(file, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    atomic.write_json(save / MARK, {file.name: atomic.sha256_file(file) for file in files})
    atomic.fsync_dir(save.parent)


def last(folder: Path) -> Path | None:
    """The newest whole save under `folder`; every other one is removed. Raises: OSError."""
    if not folder.is_dir():
        return None
    atomic.remove_leftovers(folder)
    saves = [save for _, save in _saves(folder)]
    whole = next((save for save in reversed(saves) if _is_whole(save)), None)
    atomic.remove_trees(save for save in saves if save != whole)
    return whole


def _saves(folder: Path) -> list[tuple[int, Path]]:
    named = ((_SAVE.fullmatch(path.name), path) for path in folder.iterdir())
    return sorted((int(match[1]), path) for match, path in named if match and path.is_dir())


def _is_whole(save: Path) -> bool:
    try:
        listed = json.loads((save / MARK).read_bytes())
        return all(atomic.sha256_file(save / name) == digest for name, digest in listed.items())
    except (OSError, ValueError, AttributeError):
        return False
