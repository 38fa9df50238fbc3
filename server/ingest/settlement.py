"""One group commit of the intake: what was handled until it began is made durable, merged, and then answered.

    begin    the intake's thread   what there is to do; the states remember what this sync is for
    run      any thread            fsyncs, hashes, the merge's transaction: everything that waits for disk or database
    finish   the intake's thread   states and answers

While it runs the intake goes on receiving, so that the next group gathers. One at a time.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from server.dataset.came import Came, FileCame, Merged, RecordCame
from server.ingest.arrival import Arrival, TransferId
from server.ingest.arrivals import Arrivals, Verdict
from server.ingest.failures import Failures, Name
from server.ingest.unpacking import Opened, WholeContainer, clear, files_of, sync
from server.ingest.unsealing import Unsealer
from shared import container
from shared.atomic import Step
from shared.errors import MessageError
from shared.messages import EraseRecord

logger = logging.getLogger(__name__)

Put = Callable[[Sequence[Came]], list[Merged]]


@dataclass(frozen=True, slots=True)
class SettlementParts:
    """What it works with."""

    arrivals: Arrivals
    unsealer: Unsealer
    put: Put
    failures: Failures
    crash_point: Step


@dataclass(slots=True)
class Settlement:
    """What is to be done, and, once it has run, what came of it."""

    parts: SettlementParts
    partial: list[Arrival]
    """Some of their bytes came, or something was asked about them."""
    whole: list[Arrival]
    containers: list[WholeContainer]
    """Containers that came in one message."""
    records: list[RecordCame]
    errors: list[OSError | None] = field(default_factory=list)
    """For each of the partial ones."""
    verdicts: list[Verdict | OSError] = field(default_factory=list)
    """For each of the whole ones."""
    opened: dict[TransferId, tuple[Came, ...] | MessageError | OSError] = field(default_factory=dict)
    """Of those that match, and of the containers: what is to be merged of them, or why they are to be refused, or to be
    asked for again."""
    outcomes: dict[TransferId, list[Merged | None]] = field(default_factory=dict)
    """Of those that could be opened: what became of each. None = it could not be merged now."""
    record_outcomes: list[Merged | None] = field(default_factory=list)
    unmerged: list[str] = field(default_factory=list)
    """Devices, one for each thing that could not be merged."""
    done: threading.Event = field(default_factory=threading.Event)
    """It has run."""
    whole_ids: frozenset[TransferId] = frozenset()
    ids: frozenset[TransferId] = frozenset()
    """Of all its files: until it has run they must not be closed or deleted."""

    def __post_init__(self) -> None:
        self.whole_ids = frozenset(one.id for one in self.complete)
        self.ids = self.whole_ids | {arrival.id for arrival in self.partial}

    @property
    def complete(self) -> list[Arrival | WholeContainer]:
        """All of which every byte came."""
        return [*self.whole, *self.containers]

    def run(self) -> None:
        """Do it. Never raises what one file or one record brings about."""
        try:
            self.errors, self.verdicts = self.parts.arrivals.settle(self.partial, self.whole)
            may_merge = (Verdict.MATCHES, Verdict.MOVED)
            good = [one for one, verdict in zip(self.whole, self.verdicts, strict=True) if verdict in may_merge]
            if good or self.containers or self.records:
                self._merge(good)
        except Exception as error:  # unforeseen: whoever waits for an answer is told nothing, and asks again
            self._failed(OSError(str(error)))
            raise
        finally:
            self.done.set()

    def _failed(self, error: OSError) -> None:
        self.errors, self.verdicts = [error] * len(self.partial), [error] * len(self.whole)
        self.opened, self.outcomes, self.record_outcomes = {}, {}, [None] * len(self.records)

    def _merge(self, arrivals: list[Arrival]) -> None:
        self.parts.crash_point("ingest:verified")
        self._open(arrivals)
        self.parts.crash_point("ingest:unpacked")
        self._sync_contents()
        self.parts.crash_point("ingest:opened")
        files = {name: came for name, came in self.opened.items() if isinstance(came, tuple)}
        outcomes = iter(self._put([*self.records, *(one for came in files.values() for one in came)]))
        self.parts.crash_point("ingest:merged")
        self.record_outcomes = [next(outcomes) for _ in self.records]
        self.outcomes = {name: [next(outcomes) for _ in came] for name, came in files.items()}

    def _open(self, arrivals: list[Arrival]) -> None:
        unsealer = self.parts.unsealer
        names = [*(arrival.id for arrival in arrivals), *(whole.id for whole in self.containers)]
        opened = [*unsealer.files(arrivals), *unsealer.containers(self.containers)]
        self.opened = {name: self._judged(name, came) for name, came in zip(names, opened, strict=True)}

    def _judged(self, name: TransferId, came: Opened) -> tuple[Came, ...] | MessageError | OSError:
        if isinstance(came, Exception):
            return self.parts.failures.judge(name, came)
        if container.is_name(name[1]):
            self.parts.failures.went_well([name])
        return came

    def _sync_contents(self) -> None:
        """Make what was written of the containers durable, all side by side; one that fails costs the others
        nothing."""
        names = [name for name in self.opened if container.is_name(name[1])]
        written = [(name, path) for name in names for path in files_of([self.opened[name]])]
        errors = self.parts.arrivals.side_by_side(sync, [path for _, path in written])
        for (name, _), error in zip(written, errors, strict=True):
            came = self.opened[name]
            if error is not None and isinstance(came, tuple):
                with suppress(OSError):  # the next start deletes it
                    clear(came)
                self.opened[name] = error

    def _put(self, entries: list[Came]) -> list[Merged | None]:
        """Merge them; None for what could not be. One that fails must not cost the others: then one half and the
        other, until it is by itself."""
        if not entries:
            return []
        try:
            outcomes = list[Merged | None](self.parts.put(entries))
        except Exception as error:  # noqa: BLE001  logged by `judge`, once it is known of which entry
            if len(entries) == 1:
                return [self._unmerged(entries[0], error)]
        else:
            self.parts.failures.went_well(map(_name, entries))
            return outcomes
        middle = len(entries) // 2
        return [*self._put(entries[:middle]), *self._put(entries[middle:])]

    def _unmerged(self, entry: Came, error: Exception) -> Merged | None:
        judged = self.parts.failures.judge(_name(entry), error)
        # What a wearer wants erased is never given up.
        if isinstance(judged, MessageError) and not _is_erasure(entry):
            return Merged("refused", str(judged))
        logger.error("%s of %s cannot be merged: %s", *reversed(_name(entry)), judged)
        self.unmerged.append(entry.device)
        return None


def _name(entry: Came) -> Name:
    device, record_id = entry.key
    return device, f"{record_id}.{entry.part.kind}" if isinstance(entry, FileCame) else record_id


def _is_erasure(entry: Came) -> bool:
    return isinstance(entry, RecordCame) and isinstance(entry.record, EraseRecord)
