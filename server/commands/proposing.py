"""`waycue-server samples propose`: teachers on the server look at what waits for a person.

What was looked at is kept every few pictures: after Ctrl-C a second run goes on. A picture that cannot be read is named
and left out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from server import config as settings
from server.commands import suggesting
from server.commands.opening import add_json, drawn, opened, print_json
from server.database.store import Store
from server.dataset import pictures
from server.dataset.folder import Dataset
from server.dataset.row_log import CONTRADICTED_FROM
from server.dataset.sample_row import SampleRow
from server.review import proposals
from server.review.proposals import Opinion
from shared.clock import Clock, SystemClock
from shared.errors import ConfigError, DatasetError

KEPT_EVERY = 16
"""Pictures: some seconds of work."""
Advise = Callable[[SampleRow], Opinion]
"""Raises: DatasetError where the picture cannot be read."""
Asked = tuple[str, dict[str, object], Advise]
"""Who looks: its name, what is said of it in JSON, and its look at one moment."""


@dataclass(slots=True)
class ProposalCounts:
    """What came of it."""

    looked: int = 0
    proposed: int = 0
    """Moments with something to say."""
    contradicted: int = 0
    """Moments at which the device said otherwise: they moved up in the queue."""
    unreadable: list[str] = field(default_factory=list)

    def add(self, row: SampleRow) -> None:
        self.looked += 1
        self.proposed += bool(row.teacher_wording)
        self.contradicted += row.teacher_disagreement >= CONTRADICTED_FROM


def add_parser(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The action."""
    parser = actions.add_parser("propose", help="let a larger network look at moments that wait, and propose wordings")
    asked = parser.add_mutually_exclusive_group()
    asked.add_argument(
        "--shadow",
        metavar="VERSION",
        help="ask a version of `models list` instead, as a device would run it: where it contradicts what was said, "
        "the moment comes earlier",
    )
    asked.add_argument(
        "--teacher",
        metavar="NAME",
        help='"packaged", a detector or depth model by its name on the hub, or a folder; several with commas '
        '(learn.teacher); "champion" alone: the model in use looks again',
    )
    add_json(parser, "what was done")
    parser.set_defaults(run=_propose)


def _propose(options: argparse.Namespace) -> int:
    with opened(options.home) as (store, dataset):
        name, about, advise = _asked(options, store, dataset)
        rows = proposals.waiting(store, name)
        counts = propose(store, dataset, rows, advise, clock=SystemClock(), progress=drawn(len(rows), sys.stderr))
    if options.json:
        print_json({**about, **asdict(counts)})
    else:
        print("\n".join(_report(counts)))
    return 0


def _asked(options: argparse.Namespace, store: Store, dataset: Dataset) -> Asked:
    """Raises: ConfigError, Refused, BundleError, OSError."""
    config = settings.load(options.home)
    names = options.teacher or config.learn.teacher
    if options.shadow is not None:
        return _shadow(options, store, dataset, config.learn.threads)
    if names.strip() == suggesting.CHAMPION:
        return _champion(options.home, dataset)
    return _teachers(names, options.home, dataset)


def _shadow(options: argparse.Namespace, store: Store, dataset: Dataset, threads: int) -> Asked:
    """A version in the shadow. Raises: Refused where there is no such version, BundleError."""
    from server.learn.shadow import Shadow
    from server.releases.registry import Registry

    folder = Registry(options.home, store=store).bundle_folder(options.shadow)
    shadow = Shadow(folder, dataset.folder, threads=threads)
    return shadow.name, {"shadow": options.shadow}, shadow.advise


def _champion(home: Path, dataset: Dataset) -> Asked:
    """The model in use. Raises: ConfigError where there is none, BundleError."""
    from server.review import rerun

    model = suggesting.opened(home, suggesting.CHAMPION).model
    if model is None:
        raise ConfigError("The server has no champion to ask.", hint="Add one: waycue-server models add starter")

    def advise(row: SampleRow) -> Opinion:
        return rerun.opinion(model, pictures.read(dataset.folder / row.frame_path, of=f" of {row.sample_id}"))

    return model.manifest.version, {"teachers": {}}, advise


def _teachers(names: str, home: Path, dataset: Dataset) -> Asked:
    """Larger networks, with their licences. Raises: ConfigError, BundleError, OSError."""
    from server.eyes.teachers import open_teachers  # torch takes seconds to import

    faculty = open_teachers(names, home)
    stated = {teacher.name: teacher.licence for teacher in faculty.teachers}
    for name, licence in stated.items():
        print(f"Teacher {name}: {terms(licence)}.", file=sys.stderr)

    def advise(row: SampleRow) -> Opinion:
        said = faculty.advise(pictures.read(dataset.folder / row.frame_path, of=f" of {row.sample_id}"))
        return Opinion(faculty.name, said.wording, said.score, said.hazards, faculty.objects)

    return faculty.name, {"teachers": stated}, advise


def terms(licence: str) -> str:
    """What is said of a model's licence; "" = its publisher does not state any."""
    return f"licence {licence}" if licence else "its licence is not stated: find out whether you may use it"


def propose(
    store: Store,
    dataset: Dataset,
    rows: Sequence[SampleRow],
    advise: Advise,
    *,
    clock: Clock,
    progress: Callable[[int], None],
) -> ProposalCounts:
    """Look at each of the rows, and keep what is said of it; also what was done before it is interrupted."""
    counts, done = ProposalCounts(), list[tuple[str, Opinion]]()

    def keep() -> None:
        for row in proposals.keep(store, dataset, done, now_s=clock.utc_s()):
            counts.add(row)
        done.clear()

    try:
        for at, (row, opinion) in enumerate(_looked_at(rows, advise, counts), start=1):
            if opinion is not None:
                done.append((row.sample_id, opinion))
            if len(done) == KEPT_EVERY:
                keep()
            progress(at)
    finally:
        keep()
    return counts


def _looked_at(
    rows: Sequence[SampleRow], advise: Advise, counts: ProposalCounts
) -> Iterator[tuple[SampleRow, Opinion | None]]:
    for row in rows:
        try:
            yield row, advise(row)
        except DatasetError as error:
            counts.unreadable.append(row.sample_id)
            print(error, file=sys.stderr)
            yield row, None


def _report(counts: ProposalCounts) -> list[str]:
    lines = [f"{counts.looked} moments looked at, {counts.proposed} with something to say."]
    if counts.contradicted:
        lines.append(f"{counts.contradicted} contradict what the device said: they come earlier in the review.")
    if counts.unreadable:
        lines.append(f"{len(counts.unreadable)} pictures cannot be read: {', '.join(counts.unreadable[:5])}")
    return [*lines, "Nothing of it teaches until a person confirms it: waycue-server samples review, or the page."]
