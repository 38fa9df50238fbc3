"""Rollouts in the database: started and stopped by people, watched and stopped by the server, every change logged.

Promises: every change is one transaction with its line in `rollout_log`, which is never edited. A running server acts
on a change made by a command in another process within a second. An outcome `proven` or `failed` stays, whatever the
device reports later.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlalchemy import Connection, Row, and_, func, insert, select, update

from server.database import store as db
from server.releases import days, wearers
from server.releases import rollout_rules as rules
from server.releases.days import Today
from server.releases.registry import CHAMPION, Registry
from server.releases.rollout_requests import RolloutRequest, check_days, check_supervision, more_wearers
from server.releases.rollout_rules import (
    Champion,
    DeviceOutcome,
    Grant,
    OutcomeCounts,
    Rollout,
    RolloutState,
    UpdateOutcome,
)
from shared import bundle, strict
from shared.clock import Clock, SystemClock
from shared.errors import MessageError, Refused
from shared.messages import Status

REFUSED = "refused"
"""A night's verdict on a model that no wearer should try, with a companion or without."""
_SEE = "See: waycue-server rollout status"
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RolloutProgress:
    """A rollout and how far it has come."""

    rollout: Rollout
    counts: OutcomeCounts
    outcomes: tuple[DeviceOutcome, ...]


@dataclass(frozen=True, slots=True)
class RolloutChange:
    """One line of the audit log."""

    at_utc: float
    version: str
    what: str
    why: str


class Rollouts:
    """The rollouts of one server. Any thread, any process."""

    def __init__(self, registry: Registry, *, clock: Clock | None = None) -> None:
        self._registry, self._store, self._clock = registry, registry.store, clock or SystemClock()
        self._worn: tuple[str, Mapping[str, str]] = ("", {})
        """The day, and who wears what on it: who is heard of during a day changes nothing of that day."""

    # --- what holds now ---

    def granted(self) -> tuple[Grant, ...]:
        """Who may run what, from the champion and the rollouts that run."""
        with self._store.reading() as connection:
            champion = _champion(connection)
            running = [rollout for rollout in _rollouts(connection) if not rules.is_overtaken(rollout, champion)]
            granted = rules.grants(champion, running, _cohorts(connection), self._today(connection, running))
            if champion is None:
                return granted
            return (*granted, *wearers.grants(connection, champion.version, order=rules.order(champion.since_utc)))

    def status(self) -> tuple[RolloutProgress, ...]:
        """Every rollout, newest first."""
        with self._store.reading() as connection:
            return tuple(_progress(connection, rollout) for rollout in reversed(_rollouts(connection)))

    def by_days(self, version: str | None = None) -> tuple[Rollout, frozenset[str]]:
        """The newest rollout by wearer-day, or that of a version, and the devices that it names. Raises: Refused."""
        with self._store.reading() as connection:
            found = [r for r in _rollouts(connection) if r.days_percent and version in (None, r.version)]
            if not found:
                hint = "Begin one with: waycue-server rollout start VERSION --device NAME --days 50"
                raise Refused(f"Nothing{f' of {version}' if version else ''} was tried by wearer-day.", hint=hint)
            return found[-1], frozenset({*found[-1].devices, *_cohorts(connection).get(found[-1].cohort, ())})

    def log(self) -> tuple[RolloutChange, ...]:
        """Every change, oldest first."""
        log, t = db.rollout_log, db.rollouts
        with self._store.reading() as connection:
            query = select(log.c.at, t.c.version, log.c.what, log.c.why).join(t, t.c.id == log.c.rollout)
            return tuple(RolloutChange(*row) for row in connection.execute(query.order_by(log.c.id)))

    def _today(self, connection: Connection, running: Sequence[Rollout]) -> Today:
        now_utc = self._clock.utc_s()
        begins = {rollout.day_begins_h for rollout in running if rollout.days_percent}
        key = " ".join(days.day_of(now_utc, hour) for hour in sorted(begins))
        if begins and key != self._worn[0]:
            self._worn = key, _worn_by(connection)
        return Today(now_utc, self._worn[1])

    # --- by hand ---

    def start(self, request: RolloutRequest) -> Rollout:
        """Offer a version to some devices. A rollout of the same version that was halted is begun anew.

        raises: Refused where there is no such version, nobody to offer it to, where it is out already, where a
        version on trial would go to others than supervised wearers, or one for the field was not passed by the gate
        """
        request = replace(request, devices=sorted(set(request.devices)), companion=request.companion.strip())
        self._check(request)
        now_utc = self._clock.utc_s()
        with self._store.writing() as connection:
            _check_free(connection, request)
            # Later than every decision before it, also where the clock went back.
            started_at = max(now_utc, _newest_decision(connection) + 0.001)
            row = {**asdict(request), "state": RolloutState.RUNNING, "started_at": started_at, "changed_at": now_utc}
            (rollout_id,) = connection.execute(insert(db.rollouts).values(row)).inserted_primary_key or (0,)
            what = f"started{' supervised' if request.supervised else ''} for {request.recipients()}"
            companion = f"with {request.companion}" if request.companion else ""
            _add_log_line(connection, rollout_id, now_utc, what, "; ".join(filter(None, (companion, request.why))))
            return next(rollout for rollout in _rollouts(connection) if rollout.id == rollout_id)

    def _check(self, request: RolloutRequest) -> None:
        """Whether the version may go to these devices. Raises: Refused."""
        version = request.version
        self._registry.check_in_service(version)
        manifest = bundle.verify(self._registry.bundle_folder(version))
        check_days(request)
        if not 0 <= request.percent <= 100 or not (request.percent or request.devices or request.cohort):
            raise Refused("Nobody is named to get it.", hint="Use --device, --cohort, --percent or --all.")
        check_supervision(request, on_trial=manifest.intended_use == bundle.TRIAL)
        if not request.supervised:
            self._registry.check_judged(version)
        elif self._registry.get(version).evaluation.get("outcome") == REFUSED:
            raise Refused(
                f"The gate refused {version}: it is worse than what is there, or unfit to run, and goes to nobody.",
                hint=f"See: waycue-server gate --explain {version}",
            )

    def advance(
        self, version: str | None = None, *, percent: int | None = None, force: bool = False, why: str = ""
    ) -> Rollout:
        """On to the next stage, or to `percent` of all devices. version: None = of the one rollout that runs.

        raises: Refused where no device has proven it yet or some are bad, unless `force`; where there is no next stage
        """
        with self._store.writing() as connection:
            rollout = _running(connection, version)
            if rollout.days_percent:
                raise Refused(
                    f"{rollout.version} is tried by wearer-day: another share would mix what is compared.",
                    hint="See: waycue-server rollout result. Then: rollout finish, or rollout halt.",
                )
            if rollout.supervised:
                raise Refused(
                    f"{rollout.version} is on trial: it goes to wearers who were named with their companion, and to no "
                    "share of the others.",
                    hint=more_wearers(rollout.version),
                )
            counts = rules.count(_outcomes(connection, rollout.id))
            next_percent = rules.next_percent(rollout) if percent is None else percent
            if next_percent is None:
                raise Refused(
                    f"{rollout.version} goes to all devices already.", hint="Use: waycue-server rollout finish"
                )
            if not rollout.percent < next_percent <= 100:
                raise Refused(f"{rollout.version} goes to {rollout.percent} % of the devices; name a higher share.")
            if not force and (counts.bad or not counts.proven):
                raise Refused(
                    f"{rollout.version}: {counts.proven} devices have proven it, {counts.failed} failed, "
                    f"{counts.missing} sent no result.",
                    hint="Wait, halt it, or use --force.",
                )
            what = f"advanced to {next_percent} %"
            return _change(connection, rollout, self._clock, what, why, percent=next_percent)

    def halt(self, version: str | None = None, *, why: str = "") -> Rollout:
        """Take it back: its devices are offered what they would run without it. Raises: Refused where none runs."""
        with self._store.writing() as connection:
            rollout = _running(connection, version)
            return _end(connection, rollout, self._clock, RolloutState.HALTED, why, why=why or "by hand")

    def finish(self, version: str | None = None, *, why: str = "") -> Rollout:
        """Make it the champion. Raises: Refused where none runs, BundleError where its files are damaged."""
        with self._store.reading() as connection:
            rollout = _running(connection, version)
        self._registry.promote(rollout.version, why or f"rollout {rollout.id} finished")
        with self._store.writing() as connection:
            return _end(connection, rollout, self._clock, RolloutState.FINISHED, why)

    # --- the watch ---

    def watch(self, devices: Iterable[str]) -> tuple[Rollout, ...]:
        """Record the outcome of each rollout on these devices, and halt those that must not go on. Returns the halted.

        Cheap where no rollout runs.
        """
        with self._store.reading() as connection:
            champion = _champion(connection)
            running = [rollout for rollout in _rollouts(connection) if rollout.state == RolloutState.RUNNING]
            today = self._today(connection, running)
            granted = rules.grants(champion, running, _cohorts(connection), today) if running else ()
        if not running:
            return ()
        covered: defaultdict[str | None, list[str]] = defaultdict(list)
        for device in devices:
            covered[rules.version_for(granted, device)].append(device)
        halted = []
        with self._store.writing() as connection:
            for rollout in running:
                if champion is not None and rules.is_overtaken(rollout, champion):
                    _end(connection, rollout, self._clock, RolloutState.OVERTAKEN, f"by {champion.version}")
                    continue
                self._record_outcomes(connection, rollout, covered[rollout.version])
                if reason := rules.halt_reason(rollout, rules.count(_outcomes(connection, rollout.id))):
                    logger.error("The rollout of %s is halted: %s.", rollout.version, reason)
                    halted.append(_end(connection, rollout, self._clock, RolloutState.HALTED, reason, why=reason))
        return tuple(halted)

    def _record_outcomes(self, connection: Connection, rollout: Rollout, devices: Sequence[str]) -> None:
        now_utc = self._clock.utc_s()
        known = {entry.device: entry for entry in _outcomes(connection, rollout.id)}
        for device in devices:
            if device not in known:
                known[device] = DeviceOutcome(device, now_utc, UpdateOutcome.WAITING)
                connection.execute(insert(db.rollout_devices).values(rollout=rollout.id, **_row(known[device])))
        for device, (seen_utc, status) in _statuses(connection, known).items():
            outcome = rules.outcome_now(known[device], rollout, status, seen_utc, now_utc)
            if outcome != known[device]:
                t = db.rollout_devices
                where = (t.c.rollout == rollout.id, t.c.device == device)
                connection.execute(update(t).where(*where).values(**_row(outcome)))
                if outcome.outcome in (UpdateOutcome.FAILED, UpdateOutcome.MISSING):
                    logger.warning("%s on %s: %s (%s)", rollout.version, device, outcome.outcome, outcome.reason)


def _check_free(connection: Connection, request: RolloutRequest) -> None:
    """Raises: Refused where the version is out already, or its cohort has no devices."""
    version, champion = request.version, _champion(connection)
    if champion is not None and champion.version == version:
        raise Refused(f"{version} is the champion: every device is offered it already.", hint=_SEE)
    if any(rollout.version == version and rollout.state == RolloutState.RUNNING for rollout in _rollouts(connection)):
        raise Refused(f"A rollout of {version} is running.", hint="Use: waycue-server rollout advance")
    if request.cohort and not _cohorts(connection).get(request.cohort):
        raise Refused(f"No device belongs to the cohort {request.cohort!r}.", hint="See: waycue-server devices list")


# --- rows ---


def _champion(connection: Connection) -> Champion | None:
    version = connection.execute(select(db.aliases.c.version).where(db.aliases.c.name == CHAMPION)).scalar()
    if version is None:
        return None
    log = db.alias_log
    since = connection.execute(select(func.max(log.c.at)).where(log.c.name == CHAMPION)).scalar()
    return Champion(str(version), float(since or 0.0))


def _rollouts(connection: Connection) -> list[Rollout]:
    return [_rollout(row) for row in connection.execute(select(db.rollouts).order_by(db.rollouts.c.id))]


def _rollout(row: Row[Any]) -> Rollout:
    values = dict(row._mapping)
    started_utc, changed_utc = values.pop("started_at"), values.pop("changed_at")
    values |= {"devices": tuple(row.devices), "state": RolloutState(row.state)}
    return Rollout(started_utc=started_utc, changed_utc=changed_utc, **values)


def _running(connection: Connection, version: str | None) -> Rollout:
    running = [
        rollout
        for rollout in _rollouts(connection)
        if rollout.state == RolloutState.RUNNING and version in (None, rollout.version)
    ]
    if len(running) == 1:
        return running[0]
    if running:
        names = ", ".join(rollout.version for rollout in running)
        raise Refused(f"{len(running)} rollouts are running: {names}.", hint="Name one of these versions.")
    raise Refused(f"No rollout{f' of {version}' if version else ''} is running.", hint=_SEE)


def _end(
    connection: Connection, rollout: Rollout, clock: Clock, state: RolloutState, note: str, **values: Any
) -> Rollout:
    return _change(connection, rollout, clock, state, note, state=state, **values)


def _change(connection: Connection, rollout: Rollout, clock: Clock, what: str, note: str, **values: Any) -> Rollout:
    now_utc = clock.utc_s()
    where = db.rollouts.c.id == rollout.id
    connection.execute(update(db.rollouts).where(where).values(changed_at=now_utc, **values))
    _add_log_line(connection, rollout.id, now_utc, what, note)
    return replace(rollout, changed_utc=now_utc, **values)


def _add_log_line(connection: Connection, rollout_id: int, now_utc: float, what: str, why: str) -> None:
    connection.execute(insert(db.rollout_log).values(rollout=rollout_id, at=now_utc, what=what, why=why))


def _newest_decision(connection: Connection) -> float:
    champion = _champion(connection)
    started = connection.execute(select(func.max(db.rollouts.c.started_at))).scalar()
    return max(float(started or 0.0), champion.since_utc if champion else 0.0)


def _cohorts(connection: Connection) -> Mapping[str, list[str]]:
    t = db.enrolments
    cohorts: defaultdict[str, list[str]] = defaultdict(list)
    for row in connection.execute(select(t.c.cohort, t.c.device).where(t.c.revoked_at.is_(None), t.c.cohort != "")):
        cohorts[row.cohort].append(row.device)
    return cohorts


def _worn_by(connection: Connection) -> dict[str, str]:
    """Device → the wearer of its newest moment."""
    t = db.samples
    last = select(t.c.device, func.max(t.c.captured_at).label("at")).group_by(t.c.device).subquery()
    newest = select(t.c.device, t.c.body).join(last, and_(last.c.device == t.c.device, last.c.at == t.c.captured_at))
    return {row.device: str(row.body.get("speaker_id", "")) for row in connection.execute(newest)}


def _progress(connection: Connection, rollout: Rollout) -> RolloutProgress:
    outcomes = _outcomes(connection, rollout.id)
    return RolloutProgress(rollout, rules.count(outcomes), outcomes)


def _outcomes(connection: Connection, rollout_id: int) -> tuple[DeviceOutcome, ...]:
    t = db.rollout_devices
    query = select(t.c.device, t.c.offered_at, t.c.outcome, t.c.reason).where(t.c.rollout == rollout_id)
    rows = connection.execute(query.order_by(t.c.device))
    return tuple(
        DeviceOutcome(device, at_utc, UpdateOutcome(outcome), reason) for device, at_utc, outcome, reason in rows
    )


def _row(entry: DeviceOutcome) -> dict[str, Any]:
    values = asdict(entry)
    return {"offered_at": values.pop("offered_utc"), **values}


def _statuses(connection: Connection, devices: Iterable[str]) -> dict[str, tuple[float, Status]]:
    t, names = db.devices, set(devices)
    statuses: dict[str, tuple[float, Status]] = {}
    for row in connection.execute(select(t.c.device, t.c.seen_at, t.c.status)):
        if row.device in names:
            try:
                statuses[row.device] = (row.seen_at, strict.read(Status, row.status))
            except MessageError as error:
                logger.warning("The last status of %s cannot be read: %s", row.device, error)
    return statuses
