"""`waycue-server samples propose`: teachers on the server look at what waits for a person.

What was looked at is kept every few pictures: after Ctrl-C a second run goes on. A picture that cannot be read is named
and left out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field

from server import config as settings
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

CHAMPION = "champion"
KEPT_EVERY = 16
"""Pictures: some seconds of work."""
Advise = Callable[[SampleRow], Opinion]
"""Raises: DatasetError where the picture cannot be read."""


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
        help="ask a version of `models list`, or the champion, instead, as a device would run it: where it contradicts "
        "what was said, the moment comes earlier",
    )
    asked.add_argument(
        "--challenge",
        metavar="VERSION",
        help="ask this version and the champion: where the two say different things, the moment comes earlier. Each "
        "night does so with the version that it made (learn.challenge)",
    )
    asked.add_argument(
        "--teacher",
        metavar="NAME",
        help='"packaged", a detector or depth model by its name on the hub, or a folder; several with commas '
        "(learn.teacher)",
    )
    add_json(parser, "what was done")
    parser.set_defaults(run=_propose)


def _propose(options: argparse.Namespace) -> int:
    config = settings.load(options.home)
    if options.shadow is not None:
        return _shadow(options, config.learn.threads)
    if options.challenge is not None:
        return _challenge(options, config.learn.threads)
    from server.eyes.teachers import open_teachers  # torch takes seconds to import

    faculty = open_teachers(options.teacher or config.learn.teacher, options.home)
    stated = {teacher.name: teacher.licence for teacher in faculty.teachers}
    for name, licence in stated.items():
        print(f"Teacher {name}: {terms(licence)}.", file=sys.stderr)
    with opened(options.home) as (store, dataset):

        def advise(row: SampleRow) -> Opinion:
            image = pictures.read(dataset.blobs.local(row.frame_path), of=f" of {row.sample_id}")
            said = faculty.advise(image)
            return Opinion(faculty.name, said.wording, said.score, said.hazards, faculty.objects)

        counts = _asked(store, dataset, faculty.name, advise)
    return _tell(counts, {"teachers": stated}, json=options.json)


def _shadow(options: argparse.Namespace, threads: int) -> int:
    """Raises: Refused where there is no such version, BundleError."""
    from server.learn.shadow import Shadow
    from server.releases.registry import Registry

    with opened(options.home) as (store, dataset):
        registry = Registry(options.home, store=store)
        version = registry.champion() if options.shadow == CHAMPION else options.shadow
        if not version:
            raise ConfigError("The server has no champion to ask.", hint="Add one: waycue-server models add starter")
        folder = registry.bundle_folder(version)
        shadow = Shadow(folder, dataset.blobs, threads=threads)
        counts = _asked(store, dataset, shadow.name, shadow.advise)
    return _tell(counts, {"shadow": options.shadow}, json=options.json)


def _challenge(options: argparse.Namespace, threads: int) -> int:
    """Raises: ConfigError, Refused where there is no such version, BundleError."""
    from server.learn.shadow import Challenge, Shadow
    from server.releases.registry import Registry

    with opened(options.home) as (store, dataset):
        registry = Registry(options.home, store=store)
        champion = registry.champion()
        if not champion or champion == options.challenge:
            raise ConfigError("There are not two models to ask.", hint="Name another version than the champion.")
        both = [
            Shadow(registry.bundle_folder(name), dataset.blobs, threads=threads)
            for name in (options.challenge, champion)
        ]
        challenge = Challenge(both[0], both[1])
        counts = _asked(store, dataset, challenge.name, challenge.advise)
    return _tell(counts, {"challenge": options.challenge, "champion": champion}, json=options.json)


def _asked(store: Store, dataset: Dataset, name: str, advise: Advise) -> ProposalCounts:
    rows = proposals.waiting(store, name)
    return propose(store, dataset, rows, advise, clock=SystemClock(), progress=drawn(len(rows), sys.stderr))


def _tell(counts: ProposalCounts, about: dict[str, object], *, json: bool) -> int:
    if json:
        print_json({**about, **asdict(counts)})
    else:
        print("\n".join(_report(counts)))
    return 0


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
        lines.append(f"{counts.contradicted} contradict what was said: they come earlier in the review.")
    if counts.unreadable:
        lines.append(f"{len(counts.unreadable)} pictures cannot be read: {', '.join(counts.unreadable[:5])}")
    return [*lines, "Nothing of it teaches until a person confirms it: waycue-server samples review, or the page."]
