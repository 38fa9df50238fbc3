"""What one night works on: which rows teach, which judge, what is damaged; and its place on the disk.

A night's folder is named by all that its work is made from, the base's weights and tokenizer included: gone on with is
only what the same inputs began.
"""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import FrameType

from server import walks
from server.consent.terms import wearer_of
from server.dataset import line_log, material
from server.dataset.folder import Dataset
from server.dataset.packed_rows import PackedRows
from server.dataset.sample_row import SampleRow, files_of
from server.dataset.teaching import judging_rows, training_rows, whole
from server.gate.judge import senses_of
from server.learn import examples, lineage, memory, verdict
from server.learn.recipe import Recipe
from server.learn.settings import LearnSettings
from server.model import checkpoint as checkpoints
from server.model.checkpoint import Checkpoint
from server.releases.registry import Registry
from shared import atomic, file_lock
from shared.clock import Clock
from shared.errors import Transient, WaycueError

FULL_BYTES = 64 * 1024 * 1024
"""With less room than this, what fails in a night fails for want of it: a save of the starter has 40 MB."""


@dataclass(frozen=True)
class DatasetView:
    """The dataset as it was when the night began."""

    folder: Path
    version: tuple[int, str]
    """As Dataset.version gives it."""
    rows: PackedRows
    """Samples as they are in that version, of which the night may use any: what a person confirmed, and all of walks
    that do not teach; but for those whose picture does not show what was confirmed of it."""
    pictures: frozenset[str] = frozenset()
    """SHA-256 of the pictures of all samples."""
    worn_by: Mapping[str, str] = field(default_factory=dict)
    """Device → wearer of its newest sample."""

    @cached_property
    def teaching(self) -> PackedRows:
        return self.rows.only(lambda row: bool(training_rows([row])))


@dataclass(frozen=True, slots=True)
class NightRows:
    """What one night takes from the dataset."""

    view: DatasetView
    """Without the samples whose picture is damaged."""
    teaching: Sequence[SampleRow]
    """The rows that teach tonight."""
    put_aside: tuple[str, ...]


def view_of(
    dataset: Dataset, *, blurred: bool = True, allowed: Callable[[SampleRow], bool] = lambda row: True
) -> DatasetView:
    """blurred: as `learn.blurred` says; allowed: whether a wearer agreed to a row's use (server.consent.terms)"""
    if not line_log.exists(dataset.log):
        return DatasetView(dataset.blobs.gathered(()), dataset.version(), PackedRows())
    pictures, worn = set[str](), dict[str, tuple[float, str]]()

    def of_use() -> Iterator[SampleRow]:
        for row in dataset.newest():  # one after the other: there may be a million
            if allowed(row) and whole([row], blurred=blurred):
                pictures.add(Path(row.frame_path).stem)
                worn[row.device] = max(worn.get(row.device, (row.timestamp, "")), (row.timestamp, wearer_of(row)))
                if row.reviewed or row.split != "train":
                    yield row

    with dataset.still():
        rows = PackedRows(of_use())
        worn_by = {device: wearer for device, (_, wearer) in worn.items()}
        folder = dataset.blobs.gathered(name for row in rows for name in files_of(row))
        return DatasetView(folder, dataset.version(), rows, frozenset(pictures), worn_by)


def too_few(teaching: Sequence[SampleRow], new: int, settings: LearnSettings, *, force: bool) -> str | None:
    """Why this is no night to train in, None = it is."""
    if teaching and (force or new >= settings.new_rows_least):
        return None
    return f"{new} verified rows are new, {settings.new_rows_least} are needed"


def take(view: DatasetView, new: Sequence[SampleRow], *, base: Checkpoint, recipe: Recipe) -> NightRows:
    """The rows that teach tonight and those that judge, each with its files read once: what is damaged is put aside.

    new: rows that no version has seen yet
    """
    chosen = examples.tonight(view.teaching, new, most=recipe.draws(replay=bool(base.known)), seed=recipe.seed)
    needed = {row.row_id: row for row in (*chosen, *judging_rows(view.rows))}
    whole, aside = material.readable(view.folder, list(needed.values()), senses_of(base))
    damaged = needed.keys() - {row.row_id for row in whole}
    kept = view.rows.only(lambda row: row.row_id not in damaged) if damaged else view.rows
    teaching = [row for row in chosen if row.row_id not in damaged]
    return NightRows(replace(view, rows=kept), teaching, tuple(aside))


def begin(work: Path, version: str, registry: Registry, clock: Clock) -> tuple[str, float]:
    """(version, when it was begun), as first written down: gone on with, a night makes what it would have made."""
    file = work / verdict.BEGUN
    try:
        begun = json.loads(file.read_bytes())
        name, began_utc_s = str(begun["version"]), float(begun["began_utc_s"])
        if name not in {model.version for model in registry.list()}:
            return name, began_utc_s
    except (FileNotFoundError, ValueError, KeyError, TypeError):  # it begins now, or an older program began it
        pass
    began_utc_s = clock.utc_s()
    atomic.write_json(file, {"version": version, "began_utc_s": began_utc_s})
    return version, began_utc_s


def key_of(base: Checkpoint, teaching: Sequence[SampleRow], recipe: Recipe, bits: int, *, after: str = "") -> str:
    """Names all that a night's work is made from: gone on with is only what the same inputs began.

    after: key of what it goes on from (server.learn.going_on); "" = the base
    """
    ear = base.ear.config.name_or_path if base.ear is not None else ""
    taught = list(lineage.identities(teaching))
    of = [base.name, checkpoints.fingerprint(base), base.frames, ear, walks.KNOWN, taught, asdict(recipe), bits]
    text = json.dumps([*of, after] if after else of)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@contextmanager
def single_flight(home: Path) -> Iterator[None]:
    busy = Transient("Another retrain is running on this server.", hint="Wait until it has ended.")
    with file_lock.locked(home / "nightly.lock", busy=busy):
        yield


@contextmanager
def stoppable(progress: Callable[[str], None]) -> Iterator[Callable[[str], None]]:
    """Ctrl-C ends a night even where a library that catches broadly swallows the KeyboardInterrupt: it is raised again
    at the next word of progress. Only in the main thread, where signals arrive.

    gives: `progress`, to be used inside
    """
    asked = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        asked.set()
        raise KeyboardInterrupt

    def report(text: str) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        progress(text)

    if threading.current_thread() is not threading.main_thread():
        yield progress
        return
    before = signal.signal(signal.SIGINT, stop)
    try:
        yield report
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def room(home: Path) -> Iterator[None]:
    """A full disk or memory is said as one, whichever library met it and whatever we said of that: torch, safetensors
    and ONNX Runtime raise errors of their own."""
    try:
        yield
    except Transient:  # it is said already
        raise
    except Exception as error:
        if memory.ran_out(error):
            raise memory.too_little() from error
        left = shutil.disk_usage(home).free
        full = any(getattr(met, "errno", None) in (errno.ENOSPC, errno.EDQUOT) for met in memory.causes(error))
        if not full and (left > FULL_BYTES or isinstance(error, WaycueError)):
            raise
        raise Transient(
            f"The disk of {home} is full ({left / 1e6:.0f} MB are left): {error}",
            hint="Free some space and run it again: it goes on where it stopped.",
        ) from error
