"""How an update goes, decided without touching disk, network or clock. The rules are in `device.update_state`.

    step(state, event, now_s, settings) -> (state, actions)

Actions are carried out in order; what they find out comes back as the next event.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from device.update_state import (
    ACTIVATING,
    FETCHING,
    FILES,
    IDLE,
    LINK,
    LOCAL,
    MANIFEST,
    PROBATION,
    READY,
    ROLLING_BACK,
    SWITCHED,
    TESTING,
    VERIFYING,
    Action,
    Activate,
    Activated,
    Announce,
    AskDropped,
    BlockCame,
    Check,
    CheckCurrent,
    Checked,
    ClearIncoming,
    Copied,
    Copy,
    CurrentChecked,
    Denied,
    DiskTrouble,
    Event,
    Failed,
    Identity,
    LinkChanged,
    LookOk,
    ManifestRead,
    NotActivated,
    Offered,
    OfferRefused,
    Progress,
    ReadManifest,
    RollBack,
    RolledBack,
    Save,
    SaveDenied,
    SelfTest,
    Settings,
    Started,
    State,
    Step,
    Survey,
    Surveyed,
    Sync,
    Synced,
    Tested,
    Tick,
    Verified,
    Verify,
    Write,
    is_denied,
    manifest_entry,
    progress_of,
    unfetched,
    with_progress,
)
from device.update_window import all_here, answered, ask, awaiting, clipped, resumable, synced_only
from shared.messages import Offer


def step(state: State, event: Event, now_s: float, settings: Settings) -> Step:
    """What follows from `event`. Pure; an event that does not fit the phase changes nothing."""
    return _STEPS[type(event)](state, event, now_s, settings)


# --- start, offers ---


def _started(state: State, _event: Started, now_s: float, settings: Settings) -> Step:
    if state.phase == PROBATION:
        state = replace(state, starts=state.starts + 1)
        if state.starts > settings.probation_starts:
            reason = f"it did not get through {settings.probation_looks} looks in {settings.probation_starts} starts"
            return _give_way(state, reason)
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
        return _abandon(state, denied.reason)
    if state.origin == LOCAL:
        return _abandon(state, "the installation from a folder was interrupted; run it again")
    return _fetch_manifest(state)


def _offered(state: State, event: Offered, now_s: float, settings: Settings) -> Step:
    offer = event.offer
    if event.origin == LOCAL:
        return _begin(state, offer, LOCAL)
    known = state.offered
    if known is not None and offer.revision < known.revision:
        return replace(state, problem=f"an older offer of {offer.version} was ignored"), []
    if known is not None and offer.revision == known.revision and offer.manifest_sha256 != known.manifest_sha256:
        return replace(state, problem=f"a second offer with revision {offer.revision} was ignored"), []
    return _follow(replace(state, offered=offer), offer)


def _offer_refused(state: State, event: OfferRefused, now_s: float, settings: Settings) -> Step:
    return replace(state, problem=event.reason), []


def _follow(state: State, offer: Offer) -> Step:
    """Bring the update under way in line with the newest offer. Called when one came, and when an update has ended."""
    if state.phase in SWITCHED:
        return state, [Save()]  # looked at again when the switch has been proven or taken back
    if offer.manifest_sha256 == state.current.manifest_sha256:
        return _abandon(state, "")
    denied = is_denied(state, offer)
    if denied is not None:
        return _abandon(state, f"refused: {denied.version}: {denied.reason}")
    if state.target is not None and state.target.manifest_sha256 == offer.manifest_sha256 and state.phase != IDLE:
        return replace(state, target=offer, origin=LINK), [Save()]
    return _begin(state, offer, LINK)


def _abandon(state: State, problem: str) -> Step:
    """Back to idle with what is in use; whatever was fetched is thrown away."""
    return _idle(state, problem), [Save(), ClearIncoming()]


def _idle(state: State, problem: str) -> State:
    return replace(
        state, phase=IDLE, target=None, origin=LINK, progress={}, bad={}, tests=0, looks=0, starts=0, problem=problem,
        reason="", files=(), size_bytes=0, asked=(), silent=0, retry_at_s=None,
    )  # fmt: skip


def _begin(state: State, offer: Offer, origin: str) -> Step:
    # Half-written files stay: where the new manifest lists the same path with the same hash, they are gone on with.
    progress = state.progress
    state = replace(_idle(state, ""), phase=MANIFEST, target=offer, origin=origin, progress=synced_only(progress))
    return _fetch_manifest(state)


def _fetch_manifest(state: State) -> Step:
    assert state.target is not None
    entry = manifest_entry(state.target)
    state = replace(state, phase=MANIFEST, files=(entry,), size_bytes=entry.size_bytes, asked=())
    return state, [Save(), Survey((entry,), resumable(state, (entry,)), prune=False)]


# --- fetching ---


def _manifest_read(state: State, event: ManifestRead, now_s: float, settings: Settings) -> Step:
    if state.phase != MANIFEST or state.target is None:
        return state, []
    if event.manifest is None:
        # Not denied: the bytes are as offered, and a newer agent may be able to read them.
        return _abandon(state, f"refused: {state.target.version}: {event.problem}")
    if event.manifest.version != state.target.version:
        return _deny(state, f"its manifest names version {event.manifest.version}")
    files = event.manifest.files
    wanted = {entry.path: entry.sha256 for entry in files}
    kept = {path: old for path, old in state.progress.items() if wanted.get(path) == old.sha256}
    state = replace(state, phase=FILES, files=files, size_bytes=event.manifest.size_bytes, progress=kept)
    return state, [Save(), Survey(files, resumable(state, files), prune=True)]


def _surveyed(state: State, event: Surveyed, now_s: float, settings: Settings) -> Step:
    if state.phase not in FETCHING:
        return state, []
    files = tuple(entry for entry in state.files if entry.path not in event.whole)
    state = replace(state, progress=clipped(state, event.partial), files=files)
    short = unfetched(state) + settings.margin_bytes - event.free_bytes
    if files and short > 0:
        problem = f"the disk is too full for this model: {_mb(short)} MB more are needed"
        return replace(state, problem=problem, asked=(), retry_at_s=now_s + settings.retry_s), []
    state = replace(state, problem="", retry_at_s=None)
    found = tuple(entry for entry in files if entry.path in event.elsewhere)
    if not found:
        return _fetch(state, now_s, settings)
    # A copy takes the name of the half-written file, whose ranges count no longer: that is saved first.
    for entry in found:
        state = with_progress(state, entry.path, None)
    return state, [Save(), Copy(found)]


def _copied(state: State, event: Copied, now_s: float, settings: Settings) -> Step:
    if state.phase not in FETCHING:
        return state, []
    files = tuple(entry for entry in state.files if entry.path not in event.copied)
    return _fetch(replace(state, files=files), now_s, settings)


def _fetch(state: State, now_s: float, settings: Settings) -> Step:
    """Ask for what is missing, or go on where nothing is."""
    if not state.files:
        return (state, [ReadManifest()]) if state.phase == MANIFEST else _verify(state)
    if state.origin == LOCAL:
        return _abandon(state, f"{state.files[0].path} could not be copied")
    if state.retry_at_s is not None:
        return state, []
    done = [Check(entry) for entry in state.files if progress_of(state, entry).have.covers(0, entry.size_bytes)]
    if done:
        return state, [done[0]]
    return ask(state, now_s, settings)


def _block_came(state: State, event: BlockCame, now_s: float, settings: Settings) -> Step:
    start, stop = event.offset, event.offset + len(event.data)
    entry = awaiting(state, event.sha256, start, stop)
    if entry is None or state.phase not in FETCHING or state.retry_at_s is not None:
        return state, []
    progress = progress_of(state, entry)
    state = with_progress(state, entry.path, replace(progress, fresh=progress.fresh.add(start, stop)))
    state = replace(state, silent=0)
    actions: list[Action] = [Write(entry.path, start, event.data)]
    if any(asked.path == entry.path and answered(state, asked) for asked in state.asked) or all_here(state, entry):
        actions.append(Sync(entry.path))
    return state, actions


def _synced(state: State, event: Synced, now_s: float, settings: Settings) -> Step:
    entry = next((entry for entry in state.files if entry.path == event.path), None)
    if entry is None or state.phase not in FETCHING:
        return state, []
    progress = progress_of(state, entry)
    progress = Progress(entry.sha256, progress.have.union(progress.fresh))
    state = with_progress(state, entry.path, progress)
    state = replace(state, asked=tuple(asked for asked in state.asked if not answered(state, asked)))
    state, actions = _fetch(state, now_s, settings)
    return state, [Save(), *actions]


def _checked(state: State, event: Checked, now_s: float, settings: Settings) -> Step:
    entry = next((entry for entry in state.files if entry.path == event.path), None)
    if entry is None or state.phase not in FETCHING:
        return state, []
    state = with_progress(state, entry.path, None)
    state = replace(state, asked=tuple(asked for asked in state.asked if asked.path != event.path))
    if event.ok:
        state = replace(state, files=tuple(other for other in state.files if other != entry))
        state, actions = _fetch(state, now_s, settings)
        return state, [Save(), *actions]
    return _bad_copies(state, {entry.path: "arrived with a wrong SHA-256"}, now_s, settings)


def _bad_copies(state: State, bad: Mapping[str, str], now_s: float, settings: Settings) -> Step:
    """Throw wrong files away and fetch them again, but not for ever."""
    counts = dict(state.bad)
    for path, what in bad.items():
        counts[path] = counts.get(path, 0) + 1
        if counts[path] >= settings.bad_copies:
            return _deny(replace(state, bad=counts), f"{path} {what}, {counts[path]} times")
    state = replace(state, bad=counts, problem=f"{', '.join(sorted(bad))} arrived damaged and is fetched again")
    state, actions = _fetch(state, now_s, settings)
    return state, [Save(), *actions]


# --- verify, test, switch ---


def _verify(state: State) -> Step:
    return replace(state, phase=VERIFYING, asked=()), [Save(), Verify()]


def _verified(state: State, event: Verified, now_s: float, settings: Settings) -> Step:
    if state.phase != VERIFYING:
        return state, []
    if event.bad:
        counts = {path: state.bad.get(path, 0) + 1 for path in event.bad}
        path = max(counts, key=lambda name: counts[name])
        if counts[path] >= settings.bad_copies:
            return _deny(state, f"{path}: {event.bad[path]} ({counts[path]} times)")
        state, actions = _fetch_manifest(replace(state, bad={**state.bad, **counts}))
        return replace(state, problem=f"{path} was damaged on disk and is fetched again"), actions
    return _test(state, settings)


def _test(state: State, settings: Settings) -> Step:
    # Counted before it runs: a self-test that takes the agent down must not do so at every start.
    if state.tests >= settings.test_starts:
        return _deny(state, f"the agent did not survive its self-test {state.tests} times")
    return replace(state, phase=TESTING, tests=state.tests + 1, retry_at_s=None), [Save(), SelfTest()]


def _tested(state: State, event: Tested, now_s: float, settings: Settings) -> Step:
    if state.phase != TESTING:
        return state, []
    if not event.problems:
        return replace(state, phase=READY, problem="", tests=0), [Save()]
    problem = "self-test: " + "; ".join(event.problems)
    if state.origin == LOCAL:
        return _abandon(state, problem)
    if state.tests >= settings.test_runs:
        return _deny(state, problem)
    return replace(state, problem=problem, retry_at_s=now_s + settings.retry_s), []


def _tick(state: State, event: Tick, now_s: float, settings: Settings) -> Step:
    if state.retry_at_s is not None:
        if now_s < state.retry_at_s:
            return state, []
        if state.phase == TESTING:
            return _test(state, settings)
        return _resume(state)
    if state.phase == READY and state.target is not None and (event.may_switch or not state.current.version):
        return replace(state, phase=ACTIVATING), [Save(), Activate(state.target.manifest_sha256)]
    if state.phase in FETCHING:
        return _ask_again(state, now_s, settings)
    return state, []


def _ask_again(state: State, now_s: float, settings: Settings) -> Step:
    patience_s = min(settings.ask_again_s * 2.0 ** min(state.silent, 10), settings.ask_again_most_s)
    late = tuple(asked for asked in state.asked if now_s - asked.at_s >= patience_s)
    if late:
        state = replace(state, silent=state.silent + 1, asked=tuple(a for a in state.asked if a not in late))
    if not late and state.asked:
        return state, []
    # What did come is kept even if the rest never does.
    syncs: list[Action] = [Sync(path) for path, progress in state.progress.items() if progress.fresh.spans]
    if syncs:
        return state, syncs
    return _fetch(state, now_s, settings)


def _link_changed(state: State, event: LinkChanged, now_s: float, settings: Settings) -> Step:
    state = replace(state, online=event.online, asked=(), silent=0)
    if state.phase in FETCHING and event.online:
        return _ask_again(state, now_s, settings)
    return state, []


def _ask_dropped(state: State, _event: AskDropped, now_s: float, settings: Settings) -> Step:
    return replace(state, asked=()), []  # asked again on the next tick: it costs nothing while the link is down


def _activated(state: State, event: Activated, now_s: float, settings: Settings) -> Step:
    if state.phase != ACTIVATING:
        return state, []
    state = replace(state, phase=PROBATION, current=event.current, previous=event.previous, looks=0, starts=1)
    # Announced first: should saving fail, the agent still runs what `current` names, and the start is repeated.
    return replace(state, problem="", progress={}, bad={}, tests=0, files=()), [Announce(), Save()]


def _not_activated(state: State, event: NotActivated, now_s: float, settings: Settings) -> Step:
    return _ended(_idle(state, event.reason)) if state.phase == ACTIVATING else (state, [])


# --- probation, failure ---


def _look_ok(state: State, _event: LookOk, now_s: float, settings: Settings) -> Step:
    if state.phase != PROBATION:
        return state, []
    state = replace(state, looks=state.looks + 1)
    if state.looks < settings.probation_looks:
        return state, []
    return _ended(_idle(state, ""))


def _ended(state: State) -> Step:
    """An update is over; a newer offer may have come meanwhile."""
    offer = state.offered
    if offer is None or offer.manifest_sha256 == state.current.manifest_sha256 or is_denied(state, offer):
        return state, [Save()]
    return _follow(state, offer)


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
    if not state.previous.version:
        return _ended(_idle(state, f"{state.target.version} fails ({reason}) and stays: there is no other model"))
    state = replace(state, phase=ROLLING_BACK, reason=reason, denied=_denied(state, state.target, reason))
    return state, [Save(), SaveDenied(), RollBack()]


def _rolled_back(state: State, event: RolledBack, now_s: float, settings: Settings) -> Step:
    if state.phase == ROLLING_BACK and state.target is not None:
        problem = f"refused: {state.target.version}: {state.reason}"
        state = replace(_idle(state, problem), current=event.current, previous=Identity())
    else:  # the model in use was damaged on disk: the one before it takes over, and it may be fetched again
        state = replace(state, current=event.current, previous=Identity())
    state, actions = _ended(state)
    return state, [Announce(), *actions]


def _current_checked(state: State, event: CurrentChecked, now_s: float, settings: Settings) -> Step:
    if not event.problem:
        return state, []
    state = replace(state, problem=event.problem)
    if state.phase in SWITCHED or not event.previous_ok:
        return state, []
    return state, [RollBack()]


def _deny(state: State, reason: str) -> Step:
    assert state.target is not None
    if state.origin == LOCAL:
        return _abandon(state, reason)
    denied = _denied(state, state.target, reason)
    problem = f"refused: {state.target.version}: {reason}"
    return replace(_idle(state, problem), denied=denied), [SaveDenied(), Save(), ClearIncoming()]


def _disk_trouble(state: State, event: DiskTrouble, now_s: float, settings: Settings) -> Step:
    state = replace(state, problem=event.reason, asked=(), retry_at_s=now_s + settings.retry_s)
    return replace(state, progress=synced_only(state.progress)), []


# --- small parts ---


def _denied(state: State, offer: Offer, reason: str) -> tuple[Denied, ...]:
    others = tuple(one for one in state.denied if one.manifest_sha256 != offer.manifest_sha256)
    return (*others, Denied(offer.version, offer.manifest_sha256, reason))


def _mb(size_bytes: int) -> int:
    return -(-size_bytes // 1_000_000)


_STEPS: dict[type, Callable[[State, Any, float, Settings], Step]] = {
    Started: _started,
    Offered: _offered,
    OfferRefused: _offer_refused,
    BlockCame: _block_came,
    Synced: _synced,
    Checked: _checked,
    ManifestRead: _manifest_read,
    Surveyed: _surveyed,
    Copied: _copied,
    Verified: _verified,
    Tested: _tested,
    Tick: _tick,
    LinkChanged: _link_changed,
    Activated: _activated,
    NotActivated: _not_activated,
    AskDropped: _ask_dropped,
    RolledBack: _rolled_back,
    LookOk: _look_ok,
    Failed: _failed,
    CurrentChecked: _current_checked,
    DiskTrouble: _disk_trouble,
}
