"""How an update goes, decided without touching disk, network or clock. The rules are in `device.updates.state`.

    step(state, event, now_s, settings) -> (state, actions)

Actions are carried out in order; what they find out comes back as the next event.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from device.updates import fetching as fetch
from device.updates.events import (
    Action,
    Activate,
    Activated,
    Announce,
    AskDropped,
    BlockCame,
    CheckCurrent,
    Checked,
    ClearIncoming,
    Copied,
    CurrentChecked,
    DiskTrouble,
    Event,
    Failed,
    Forgiven,
    LinkChanged,
    LookOk,
    ManifestRead,
    NotActivated,
    Offered,
    OfferRefused,
    Reused,
    RollBack,
    RollBackAsked,
    RolledBack,
    Save,
    SaveDenied,
    SelfTest,
    Started,
    Step,
    Surveyed,
    Synced,
    Tested,
    Tick,
    TrustChecked,
    Verified,
    Verify,
)
from device.updates.request_window import synced_only
from device.updates.state import (
    ACTIVATING,
    FETCHING,
    IDLE,
    LOCAL,
    MANIFEST,
    PROBATION,
    READY,
    ROLLING_BACK,
    SWITCHED,
    TESTING,
    VERIFYING,
    Identity,
    Settings,
    State,
    is_denied,
    is_proven,
)
from shared.messages import Offer

BY_HAND = "taken back by hand"


def step(state: State, event: Event, now_s: float, settings: Settings) -> Step:
    """What follows from `event`. Pure; an event that does not fit the phase changes nothing."""
    return _STEPS[type(event)](state, event, now_s, settings)


# --- start, offers ---


def _started(state: State, event: Started, now_s: float, settings: Settings) -> Step:
    if not state.current.barred or state.phase in (ACTIVATING, ROLLING_BACK):
        return _begun(state, event, now_s, settings)
    if state.phase == PROBATION:  # nothing is known against it: it is not denied
        state = fetch.idle(state, "")
    instead: Action = RollBack() if fetch.falls_back(state) else Announce()
    problem = fetch.withdrawn(state.current)
    state, actions = _begun(state, event, now_s, settings)
    return replace(state, problem=problem), [instead, *actions]


def _begun(state: State, _event: Started, now_s: float, settings: Settings) -> Step:
    if state.phase == PROBATION:
        state = replace(state, starts=state.starts + 1)
        if state.starts > settings.probation_starts:
            reason = f"it did not get through {settings.probation_looks} looks in {settings.probation_starts} starts"
            return _give_way(state, reason)
    if state.phase == READY and state.target is not None and is_denied(state, state.target) is None:
        return state, [Verify()]  # nobody walks yet: once its hashes are right again, it is put in use
    if state.phase == IDLE or state.phase in SWITCHED:
        return _resume(state)
    # Hashing and testing can take a minute: the wearer's model is loaded first, the next tick goes on here.
    return replace(state, phase=MANIFEST, retry_at_s=now_s), []


def _resume(state: State) -> Step:
    """Go on from what is saved, as after a restart. Each action here may be repeated safely."""
    state = replace(state, asked=(), silent=0, retry_at_s=None, progress=synced_only(state.progress))
    if state.target is None or state.phase == IDLE:
        again = [SaveDenied()] if state.denied else []  # it may be what the disk had no room for
        return replace(state, phase=IDLE, target=None), [*again, Save(), ClearIncoming()]
    if state.phase == ACTIVATING:
        return state, [Save(), Activate(state.target.manifest_sha256)]
    if state.phase == PROBATION:
        return state, [Save()]
    if state.phase == ROLLING_BACK:
        return state, [Save(), SaveDenied(), RollBack()]
    denied = is_denied(state, state.target)
    if denied is not None:
        return fetch.abandon(state, denied.reason)
    if state.origin == LOCAL:
        return fetch.abandon(state, "the installation from a folder was interrupted; run it again")
    return fetch.fetch_first(state)


def _offered(state: State, event: Offered, now_s: float, settings: Settings) -> Step:
    offer = event.offer
    if event.origin == LOCAL:
        return fetch.begin(state, offer, LOCAL)
    known = state.offered
    if offer == known and _is_heeded(state, offer):
        return state, []  # the server says it again now and then: that must not wear out the card
    if offer.metadata:  # a replay is refused by its metadata, and a forged revision must not shut out what follows
        return fetch.follow(replace(state, offered=offer), offer)
    if known is not None and offer.revision < known.revision:
        return replace(state, problem=f"an older offer of {offer.version} was ignored"), []
    if known is not None and offer.revision == known.revision and offer.manifest_sha256 != known.manifest_sha256:
        return replace(state, problem=f"a second offer with revision {offer.revision} was ignored"), []
    return fetch.follow(replace(state, offered=offer), offer)


def _is_heeded(state: State, offer: Offer) -> bool:
    """Whether all that an offer asks for is done or under way."""
    if state.phase != IDLE:
        return True
    here = offer.manifest_sha256 == state.current.manifest_sha256 and is_proven(state, offer)
    return here or is_denied(state, offer) is not None


def _offer_refused(state: State, event: OfferRefused, now_s: float, settings: Settings) -> Step:
    return replace(state, problem=event.reason), []


# --- verify, test, switch ---


def _verified(state: State, event: Verified, now_s: float, settings: Settings) -> Step:
    if state.phase not in (VERIFYING, READY):
        return state, []
    if event.bad:
        counts = {path: state.bad.get(path, 0) + 1 for path in event.bad}
        path = max(counts, key=lambda name: counts[name])
        if counts[path] >= settings.bad_copies:
            return fetch.deny(state, f"{path}: {event.bad[path]} ({counts[path]} times)")
        state, actions = fetch.fetch_first(replace(state, bad={**state.bad, **counts}))
        return replace(state, problem=f"{path} was damaged on disk and is fetched again"), actions
    return _switch(state) if state.phase == READY else _test(state, settings)


def _switch(state: State) -> Step:
    assert state.target is not None
    return replace(state, phase=ACTIVATING), [Save(), Activate(state.target.manifest_sha256)]


def _test(state: State, settings: Settings) -> Step:
    # Counted before it runs: a self-test that takes the agent down must not do so at every start.
    if state.tests >= settings.test_starts:
        return fetch.deny(state, f"the agent did not survive its self-test {state.tests} times")
    return replace(state, phase=TESTING, tests=state.tests + 1, retry_at_s=None), [Save(), SelfTest()]


def _tested(state: State, event: Tested, now_s: float, settings: Settings) -> Step:
    if state.phase != TESTING:
        return state, []
    if not event.problems:
        return replace(state, phase=READY, problem="", tests=0), [Save()]
    problem = "self-test: " + "; ".join(event.problems)
    if state.origin == LOCAL:
        return fetch.abandon(state, problem)
    if state.tests >= settings.test_runs:
        return fetch.deny(state, problem)
    return replace(state, problem=problem, retry_at_s=now_s + settings.retry_s), []


def _tick(state: State, event: Tick, now_s: float, settings: Settings) -> Step:
    if state.retry_at_s is not None:
        if now_s < state.retry_at_s:
            return state, []
        if state.phase == TESTING:
            return _test(state, settings)
        return _resume(state)
    if state.phase == READY and (event.may_switch or not state.current.version):
        return _switch(state)
    if state.phase in FETCHING:
        return fetch.ask_again(state, now_s, settings)
    return state, []


def _activated(state: State, event: Activated, now_s: float, settings: Settings) -> Step:
    if state.phase != ACTIVATING:
        return state, []
    if event.current.barred:  # it may not guide since it was verified: without looks its probation would never end
        problem = fetch.withdrawn(event.current)
        state = replace(fetch.idle(state, problem), current=event.current, previous=event.previous)
        return state, [Save(), RollBack() if fetch.falls_back(state) else Announce()]
    state = replace(state, phase=PROBATION, current=event.current, previous=event.previous, looks=0, starts=1)
    # Announced first: should saving fail, the agent still runs what `current` names, and the start is repeated.
    return replace(state, problem="", progress={}, bad={}, tests=0, files=()), [Announce(), Save()]


def _not_activated(state: State, event: NotActivated, now_s: float, settings: Settings) -> Step:
    return _ended(fetch.idle(state, event.reason)) if state.phase == ACTIVATING else (state, [])


# --- probation, failure ---


def _look_ok(state: State, _event: LookOk, now_s: float, settings: Settings) -> Step:
    if state.phase != PROBATION:
        return state, []
    state = replace(state, looks=state.looks + 1)
    if state.looks < settings.probation_looks:
        return state, []
    return _ended(fetch.idle(state, ""))


def _ended(state: State) -> Step:
    """An update is over; a newer offer may have come meanwhile."""
    offer = state.offered
    if offer is None or _is_heeded(state, offer):
        return state, [Save()]
    return fetch.follow(state, offer)


def _failed(state: State, event: Failed, now_s: float, settings: Settings) -> Step:
    if state.phase == PROBATION:
        return _give_way(state, event.reason)
    if state.phase in (ACTIVATING, ROLLING_BACK):
        return state, []
    state = replace(state, problem=event.reason)
    if state.checked_at_s is not None and now_s - state.checked_at_s < settings.check_current_s:
        return state, []  # hashing 300 MB at every failed look would starve guidance
    return replace(state, checked_at_s=now_s), [CheckCurrent()]


def _give_way(state: State, reason: str) -> Step:
    assert state.target is not None
    if not fetch.falls_back(state):
        return _ended(fetch.idle(state, f"{state.target.version} fails ({reason}) and stays: there is no other model"))
    state = replace(state, phase=ROLLING_BACK, reason=reason, denied=fetch.with_denied(state, state.target, reason))
    return state, [Save(), SaveDenied(), RollBack()]


def _rolled_back(state: State, event: RolledBack, now_s: float, settings: Settings) -> Step:
    if state.phase == ROLLING_BACK and state.target is not None:
        problem = f"refused: {state.target.version}: {state.reason}"
        state = replace(fetch.idle(state, problem), current=event.current, previous=Identity())
    else:  # the model in use was damaged on disk: the one before it takes over, and it may be fetched again
        state = replace(state, current=event.current, previous=Identity())
    state, actions = _ended(state)
    return state, [Announce(), *actions]


def _roll_back_asked(state: State, _event: RollBackAsked, now_s: float, settings: Settings) -> Step:
    """The version in use is denied by that: the server's offer would bring it back within a minute."""
    if state.phase == PROBATION and state.previous.version:
        return _give_way(state, BY_HAND)
    if state.phase in SWITCHED or not state.previous.version:
        return replace(state, problem="there is no previous model to go back to now"), []
    if not state.current.manifest_sha256:  # not even its manifest can be read: there is nothing to deny
        return state, [RollBack()]
    bad = Offer(state.current.version, state.current.manifest_sha256, 0, 0.0)
    state = replace(fetch.idle(state, ""), phase=ROLLING_BACK, target=bad, reason=BY_HAND)
    state = replace(state, denied=fetch.with_denied(state, bad, BY_HAND))
    return state, [Save(), SaveDenied(), ClearIncoming(), RollBack()]


def _forgiven(state: State, event: Forgiven, now_s: float, settings: Settings) -> Step:
    left = tuple(one for one in state.denied if one.version != event.version)
    if left == state.denied:
        return state, []
    state = replace(state, denied=left, problem="" if state.phase == IDLE else state.problem)
    if state.phase != IDLE:
        return state, [SaveDenied()]
    state, actions = _ended(state)
    return state, [SaveDenied(), *actions]


def _current_checked(state: State, event: CurrentChecked, now_s: float, settings: Settings) -> Step:
    if not event.problem:
        return state, []
    state = replace(state, problem=event.problem)
    if state.phase in SWITCHED or not event.previous_ok:
        return state, []
    return state, [RollBack()]


_STEPS: dict[type, Callable[[State, Any, float, Settings], Step]] = {
    Started: _started,
    Offered: _offered,
    OfferRefused: _offer_refused,
    BlockCame: fetch.block_came,
    Synced: fetch.synced,
    Checked: fetch.checked,
    TrustChecked: fetch.trust_checked,
    ManifestRead: fetch.manifest_read,
    Surveyed: fetch.surveyed,
    Copied: fetch.copied,
    Reused: fetch.reused,
    Verified: _verified,
    Tested: _tested,
    Tick: _tick,
    LinkChanged: fetch.link_changed,
    Activated: _activated,
    NotActivated: _not_activated,
    AskDropped: fetch.ask_dropped,
    RolledBack: _rolled_back,
    LookOk: _look_ok,
    Failed: _failed,
    RollBackAsked: _roll_back_asked,
    Forgiven: _forgiven,
    CurrentChecked: _current_checked,
    DiskTrouble: fetch.disk_trouble,
}
