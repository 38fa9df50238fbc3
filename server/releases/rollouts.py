"""Rollouts in the database: started and stopped by people, watched and stopped by the server, every change logged.

Promises: every change is one transaction with its line in `rollout_log`, which is never edited. A running server acts
on a change made by a command in another process within a second. An outcome that was reported stays, whatever the
device says later.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from server.database import store as db
from server.releases.registry import CHAMPION, Registry
from server.releases.rollout_rules import (
    FAILED,
    FINISHED,
    HALTED,
    MISSING,
    OVERTAKEN,
    RUNNING,
    WAITING,
    Champion,
    Grant,
    Outcome,
    Rollout,
    Tally,
    grants,
    halt_reason,
    is_overtaken,
    next_percent,
    outcome_now,
    tally,
    version_for,
)
from shared import bundle, strict
from shared.clock import Clock, SystemClock
from shared.errors import MessageError, Refused
from shared.messages import Status

ERROR_SHARE = 0.1
REFUSED = "refused"
"""A night's verdict on a model that no wearer should try, with a companion or without."""
MISSING_AFTER_S = 72 * 3600.0  # a device that is worn twice a week has its chance
_SEE = "See: waycue-server rollout status"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Progress:
    """A rollout and how far it has come."""

    rollout: Rollout
    tally: Tally
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the audit log."""

    at_utc: float
    version: str
    what: str
    why: str


class Rollouts:
    """The rollouts of one server. Any thread, any process."""

    def __init__(self, registry: Registry, *, clock: Clock | None = None) -> None:
        self._registry, self._store, self._clock = registry, registry.store, clock or SystemClock()

    # --- what holds now ---

    def granted(self) -> tuple[Grant, ...]:
        """Who may run what, from the champion and the rollouts that run."""
        with self._store.reading() as connection:
            champion = _champion(connection)
            running = [one for one in _rollouts(connection) if not is_overtaken(one, champion)]
            return grants(champion, running, _cohorts(connection))

    def status(self) -> tuple[Progress, ...]:
        """Every rollout, newest first."""
        with self._store.reading() as connection:
            found = _rollouts(connection)
            outcomes = {one.id: _outcomes(connection, one.id) for one in found}
        return tuple(Progress(one, tally(outcomes[one.id]), outcomes[one.id]) for one in reversed(found))

    def log(self) -> tuple[Change, ...]:
        """Every change, oldest first."""
        log, t = db.rollout_log, db.rollouts
        with self._store.reading() as connection:
            query = select(log.c.at, t.c.version, log.c.what, log.c.why).join(t, t.c.id == log.c.rollout)
            return tuple(Change(*row) for row in connection.execute(query.order_by(log.c.id)))

    # --- by hand ---

    def start(
        self,
        version: str,
        *,
        percent: int = 0,
        devices: Sequence[str] = (),
        cohort: str = "",
        error_share: float = ERROR_SHARE,
        missing_after_s: float = MISSING_AFTER_S,
        supervised: bool = False,
        companion: str = "",
        why: str = "",
    ) -> Rollout:
        """Offer a version to some devices. A rollout of the same version that was halted is begun anew.

        supervised: a version on trial, for devices named one by one, whose wearers walk with a sighted companion
        raises: Refused where there is no such version, nobody to offer it to, where it is out already, where a
        version on trial would go to anyone else, or where one for the field was not passed by the gate
        """
        manifest = bundle.verify(self._registry.bundle_folder(version))
        if not 0 <= percent <= 100 or not (percent or devices or cohort):
            raise Refused("Nobody is named to get it.", hint="Use --device, --cohort, --percent or --all.")
        companion = companion.strip()
        named_only = bool(devices) and not percent and not cohort
        _check_supervision(manifest, supervised=supervised, companion=companion, named_only=named_only)
        if supervised and self._registry.get(version).evaluation.get("outcome") == REFUSED:
            raise Refused(
                f"The gate refused {version}: it is worse than what is there, or unfit to run, and goes to nobody.",
                hint=f"See: waycue-server gate --explain {version}",
            )
        if not supervised:
            self._registry.check_judged(version)
        now_utc = self._clock.utc_s()
        row = {
            "version": version,
            "state": RUNNING,
            "percent": percent,
            "devices": sorted(set(devices)),
            "cohort": cohort,
            "error_share": error_share,
            "missing_after_s": missing_after_s,
            "started_at": now_utc,
            "changed_at": now_utc,
            "why": why,
            "supervised": supervised,
            "companion": companion,
        }
        with self._store.writing() as connection:
            champion = _champion(connection)
            if champion is not None and champion.version == version:
                raise Refused(f"{version} is the champion: every device is offered it already.", hint=_SEE)
            if any(one.version == version and one.state == RUNNING for one in _rollouts(connection)):
                raise Refused(f"A rollout of {version} is running.", hint="Use: waycue-server rollout advance")
            if cohort and not _cohorts(connection).get(cohort):
                raise Refused(f"No device belongs to the cohort {cohort!r}.", hint="See: waycue-server devices list")
            # Later than every decision before it, also where the clock went back.
            row["started_at"] = max(now_utc, _newest_decision(connection) + 0.001)
            (number,) = connection.execute(insert(db.rollouts).values(row)).inserted_primary_key or (0,)
            started = f"started{' supervised' if supervised else ''} for {_who(percent, devices, cohort)}"
            _note(connection, number, now_utc, started, "; ".join(filter(None, (_along(companion), why))))
            return next(one for one in _rollouts(connection) if one.id == number)

    def advance(self, version: str = "", *, percent: int | None = None, force: bool = False, why: str = "") -> Rollout:
        """On to the next stage, or to `percent` of all devices.

        raises: Refused where no device has proven it yet or some are bad, unless `force`; where there is no next stage
        """
        with self._store.writing() as connection:
            rollout = _running(connection, version)
            if rollout.supervised:
                raise Refused(
                    f"{rollout.version} is on trial: it goes to wearers who were named with their companion, and to no "
                    "share of the others.",
                    hint=_more_wearers(rollout.version),
                )
            counted = tally(_outcomes(connection, rollout.id))
            wanted = next_percent(rollout) if percent is None else percent
            if wanted is None:
                raise Refused(
                    f"{rollout.version} goes to all devices already.", hint="Use: waycue-server rollout finish"
                )
            if not rollout.percent < wanted <= 100:
                raise Refused(f"{rollout.version} goes to {rollout.percent} % of the devices; name a higher share.")
            if not force and (counted.bad or not counted.proven):
                raise Refused(
                    f"{rollout.version}: {counted.proven} devices have proven it, {counted.failed} failed, "
                    f"{counted.missing} sent no result.",
                    hint="Wait, halt it, or use --force.",
                )
            return _change(connection, rollout, self._clock, f"advanced to {wanted} %", why, percent=wanted)

    def halt(self, version: str = "", *, why: str = "") -> Rollout:
        """Take it back: its devices are offered what they would run without it. Raises: Refused where none runs."""
        with self._store.writing() as connection:
            rollout = _running(connection, version)
            return _change(connection, rollout, self._clock, HALTED, why, state=HALTED, why=why or "by hand")

    def finish(self, version: str = "", *, why: str = "") -> Rollout:
        """Make it the champion. Raises: Refused where none runs, BundleError where its files are damaged."""
        with self._store.reading() as connection:
            rollout = _running(connection, version)
        self._registry.promote(rollout.version, why or f"rollout {rollout.id} finished")
        with self._store.writing() as connection:
            return _change(connection, rollout, self._clock, FINISHED, why, state=FINISHED)

    # --- the watch ---

    def watch(self, devices: Iterable[str]) -> tuple[Rollout, ...]:
        """Note what became of each rollout on these devices, and halt those that must not go on. Returns the halted.

        Cheap where no rollout runs.
        """
        with self._store.reading() as connection:
            champion = _champion(connection)
            running = [one for one in _rollouts(connection) if one.state == RUNNING]
            granted = grants(champion, running, _cohorts(connection)) if running else ()
        if not running:
            return ()
        mine = {device: version_for(granted, device) for device in devices}
        halted = []
        with self._store.writing() as connection:
            for rollout in running:
                if is_overtaken(rollout, champion):
                    assert champion is not None
                    _change(connection, rollout, self._clock, OVERTAKEN, f"by {champion.version}", state=OVERTAKEN)
                    continue
                self._look(
                    connection, rollout, [device for device, version in mine.items() if version == rollout.version]
                )
                reason = halt_reason(rollout, tally(_outcomes(connection, rollout.id)))
                if reason:
                    _log.error("The rollout of %s is halted: %s.", rollout.version, reason)
                    halted.append(_change(connection, rollout, self._clock, HALTED, reason, state=HALTED, why=reason))
        return tuple(halted)

    def _look(self, connection: Connection, rollout: Rollout, devices: Sequence[str]) -> None:
        now_utc = self._clock.utc_s()
        known = {one.device: one for one in _outcomes(connection, rollout.id)}
        for device in devices:
            if device not in known:
                known[device] = Outcome(device, now_utc, WAITING)
                connection.execute(insert(db.rollout_devices).values(rollout=rollout.id, **_row(known[device])))
        for device, (seen_utc, status) in _statuses(connection, known).items():
            found = outcome_now(known[device], rollout, status, seen_utc, now_utc)
            if found != known[device]:
                t = db.rollout_devices
                where = (t.c.rollout == rollout.id, t.c.device == device)
                connection.execute(update(t).where(*where).values(**_row(found)))
                if found.outcome in (FAILED, MISSING):
                    _log.warning("%s on %s: %s (%s)", rollout.version, device, found.outcome, found.reason)


# --- rows ---


def _check_supervision(manifest: bundle.Manifest, *, supervised: bool, companion: str, named_only: bool) -> None:
    """Whether a version may go out like this. Raises: Refused."""
    version, on_trial = manifest.version, manifest.intended_use == bundle.TRIAL
    if on_trial and not supervised:
        raise Refused(
            f"{version} is on trial: it has not shown on held-out walks that it may guide on its own.",
            hint=f"Why: waycue-server gate --explain {version}. {_more_wearers(version)}",
        )
    if supervised and not on_trial:
        raise Refused(f"{version} is not on trial: --supervised is for versions that are.", hint="Leave it out.")
    if supervised and not named_only:
        raise Refused(
            f"{version} is on trial: each wearer who tries it is named, not a cohort or a share of all.",
            hint=_more_wearers(version),
        )
    if supervised and not companion:
        raise Refused(f"Nobody is named who walks along with {version}.", hint='Add: --companion "WHO"')


def _more_wearers(version: str) -> str:
    return (
        "Name the wearers who walk with a sighted companion: waycue-server rollout start "
        f'{version} --device NAME --supervised --companion "WHO".'
    )


def _along(companion: str) -> str:
    return f"with {companion}" if companion else ""


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
    return Rollout(
        row.id,
        row.version,
        row.state,
        row.percent,
        tuple(row.devices),
        row.cohort,
        row.error_share,
        row.missing_after_s,
        row.started_at,
        row.changed_at,
        row.why,
        row.supervised,
        row.companion,
    )


def _running(connection: Connection, version: str) -> Rollout:
    running = [one for one in _rollouts(connection) if one.state == RUNNING and version in ("", one.version)]
    if len(running) == 1:
        return running[0]
    if running:
        names = ", ".join(one.version for one in running)
        raise Refused(f"{len(running)} rollouts are running: {names}.", hint="Name one of these versions.")
    raise Refused(f"No rollout{f' of {version}' if version else ''} is running.", hint=_SEE)


def _change(connection: Connection, rollout: Rollout, clock: Clock, what: str, note: str, **values: Any) -> Rollout:
    now_utc = clock.utc_s()
    where = db.rollouts.c.id == rollout.id
    connection.execute(update(db.rollouts).where(where).values(changed_at=now_utc, **values))
    _note(connection, rollout.id, now_utc, what, note)
    return replace(rollout, changed_utc=now_utc, **values)


def _note(connection: Connection, rollout: int, now_utc: float, what: str, why: str) -> None:
    connection.execute(insert(db.rollout_log).values(rollout=rollout, at=now_utc, what=what, why=why))


def _newest_decision(connection: Connection) -> float:
    champion = _champion(connection)
    started = connection.execute(select(func.max(db.rollouts.c.started_at))).scalar()
    return max(float(started or 0.0), champion.since_utc if champion else 0.0)


def _cohorts(connection: Connection) -> Mapping[str, list[str]]:
    t = db.enrolments
    found: defaultdict[str, list[str]] = defaultdict(list)
    for row in connection.execute(select(t.c.cohort, t.c.device).where(t.c.revoked_at.is_(None), t.c.cohort != "")):
        found[row.cohort].append(row.device)
    return found


def _outcomes(connection: Connection, rollout: int) -> tuple[Outcome, ...]:
    t = db.rollout_devices
    query = select(t.c.device, t.c.offered_at, t.c.outcome, t.c.reason).where(t.c.rollout == rollout)
    return tuple(Outcome(*row) for row in connection.execute(query.order_by(t.c.device)))


def _row(outcome: Outcome) -> dict[str, Any]:
    return {
        "device": outcome.device,
        "offered_at": outcome.offered_utc,
        "outcome": outcome.outcome,
        "reason": outcome.reason,
    }


def _statuses(connection: Connection, devices: Iterable[str]) -> dict[str, tuple[float, Status]]:
    t, wanted, found = db.devices, set(devices), {}
    for row in connection.execute(select(t.c.device, t.c.seen_at, t.c.status)):
        if row.device in wanted:
            try:
                found[row.device] = (row.seen_at, strict.read(Status, row.status))
            except MessageError as error:
                _log.warning("The last status of %s cannot be read: %s", row.device, error)
    return found


def _who(percent: int, devices: Sequence[str], cohort: str) -> str:
    named = [f"{percent} %"] if percent else []
    named += [", ".join(sorted(set(devices)))] if devices else []
    return " and ".join([*named, *([f"cohort {cohort}"] if cohort else [])])
