"""How an update goes, decided without touching disk, network or clock. The rules are in `device.updates.state`.

    step(state, event, now_s, settings) -> (state, actions)

Actions are carried out in order; what they find comes back as the next event. The file follows an update's life:
offer, proof, manifest, files, self-test, switch, probation, roll-back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import assert_never

from device.updates import events as e
from device.updates.events import Do, Step, UpdateAction, UpdateEvent
from device.updates.operator_requests import OperatorRequest, RequestKind
from device.updates.request_window import (
    awaiting,
    clipped,
    fill_window,
    is_answered,
    lone,
    resumable,
    synced_only,
    touches,
)
from device.updates.state import (
    FETCHING,
    SWITCHED,
    Denied,
    FileProgress,
    ModelIdentity,
    Settings,
    State,
    UpdatePhase,
    manifest_entry,
    metadata_entries,
)
from shared.backoff import exponential_s
from shared.bundle import BLOCKS_NAME, DELTA_NAME, FileEntry
from shared.messages import Offer
from shared.transfer import Ranges

BY_HAND = "taken back by hand"
TOO_FULL = "Update waits. Storage is full."


def step(state: State, event: UpdateEvent, now_s: float, settings: Settings) -> Step:
    """What follows from `event`. Pure; an event that does not fit the phase changes nothing."""
    match event:
        case e.AgentStarted():
            return _started(state, now_s, settings)
        case e.UpdateTick():
            return _ticked(state, event, now_s, settings)
        case e.Offered(offer):
            return _offered(state, offer)
        case e.OfferRefused(problem):
            return replace(state, problem=problem), []
        case e.TrustChecked():
            return _trust_checked(state, event, now_s, settings)
        case e.ManifestRead():
            return _manifest_read(state, event)
        case e.FilesSurveyed() | e.FilesReused() | e.BlockReceived() | e.FileSynced():
            return _fetch_step(state, event, now_s, settings) if state.phase in FETCHING else (state, [])
        case e.LinkChanged(online):
            return _link_changed(state, now_s, settings, online=online)
        case e.ActionFailed(problem):
            return _action_failed(state, problem, now_s, settings)
        case e.BundleVerified(damaged):
            return _verified(state, damaged, settings)
        case e.BundleTested(problems):
            return _tested(state, problems, now_s, settings)
        case e.ModelSwitched():
            return _switched(state, event)
        case e.ModelLooked(problem):
            return _looked(state, problem, now_s, settings)
        case e.CurrentChecked():
            return _current_checked(state, event)
        case OperatorRequest(kind, version):
            return _roll_back_by_hand(state) if kind == RequestKind.ROLL_BACK else _forgive(state, version)
        case _:
            assert_never(event)


def _fetch_step(
    state: State,
    event: e.FilesSurveyed | e.FilesReused | e.BlockReceived | e.FileSynced,
    now_s: float,
    settings: Settings,
) -> Step:
    match event:
        case e.FilesSurveyed():
            return _surveyed(state, event, now_s, settings)
        case e.FilesReused():
            return _reused(state, event, now_s, settings)
        case e.BlockReceived():
            return _block_received(state, event)
        case e.FileSynced():
            return _file_synced(state, event, now_s, settings)
        case _:
            assert_never(event)


# --- starts, restarts, retries ---


def _started(state: State, now_s: float, settings: Settings) -> Step:
    if state.current.barred is None or state.phase in (UpdatePhase.ACTIVATING, UpdatePhase.ROLLING_BACK):
        return _continued(state, now_s, settings)
    if state.phase == UpdatePhase.PROBATION:  # nothing is known against it: it is not denied
        state = _idle(state)
    instead, problem = _without_current(state), _withdrawn(state.current)
    state, actions = _continued(state, now_s, settings)
    return replace(state, problem=problem), [instead, *actions]


def _continued(state: State, now_s: float, settings: Settings) -> Step:
    if state.phase == UpdatePhase.PROBATION:
        state = replace(state, starts=state.starts + 1)
        denied = state.denial_of(_target(state))
        if denied is not None:  # the power went after the deny list was saved, and before the state was
            return _give_up(state, denied.reason)
        if state.starts > settings.probation_starts:
            reason = f"it did not get through {settings.probation_looks} looks in {settings.probation_starts} starts"
            return _give_up(state, reason)
    if state.phase == UpdatePhase.READY and state.denial_of(_target(state)) is None:
        return state, [Do.VERIFY]  # nobody walks yet: once its hashes are right again, it is put in use
    if state.phase == UpdatePhase.IDLE or state.phase in SWITCHED:
        return _resume(state)
    # Hashing and testing can take a minute: the wearer's model is loaded first, the next tick continues here.
    return replace(state, phase=UpdatePhase.MANIFEST, retry_at_s=now_s), []


def _resume(state: State) -> Step:
    """Continue from what is saved, as after a restart. Each action here may be repeated safely."""
    state = replace(state, requests=(), timeouts=0, retry_at_s=None, progress=synced_only(state.progress))
    if state.phase == UpdatePhase.IDLE or state.target is None:
        return replace(state, phase=UpdatePhase.IDLE, target=None), [Do.SAVE, Do.CLEAR_STAGING]
    if state.phase == UpdatePhase.ACTIVATING:
        return state, [Do.SAVE, Do.ACTIVATE]
    if state.phase == UpdatePhase.PROBATION:
        return state, [Do.SAVE]
    if state.phase == UpdatePhase.ROLLING_BACK:
        return state, [Do.SAVE, Do.ROLL_BACK]
    denied = state.denial_of(state.target)
    return _fetch_first(state) if denied is None else _abandon(state, denied.reason)


def _ticked(state: State, event: e.UpdateTick, now_s: float, settings: Settings) -> Step:
    if state.retry_at_s is not None:
        if now_s < state.retry_at_s:
            return state, []
        return _test(state, settings) if state.phase == UpdatePhase.TESTING else _resume(state)
    if state.phase == UpdatePhase.READY and (event.may_switch or state.current.version is None):
        return _activate(state)
    if state.phase in FETCHING:
        return _repeat_requests(state, now_s, settings)
    return state, []


def _action_failed(state: State, problem: str | None, now_s: float, settings: Settings) -> Step:
    state = replace(state, requests=())
    if problem is None:  # the link is down: the next tick asks again, which costs nothing meanwhile
        return state, []
    wait_s = now_s + settings.retry_s
    return replace(state, problem=problem, retry_at_s=wait_s, progress=synced_only(state.progress)), []


# --- which offer is followed ---


def _offered(state: State, offer: Offer) -> Step:
    known = state.offered
    if offer == known and _is_followed(state, offer):
        return state, []  # the server says it again now and then: that must not wear out the card
    # Of signed offers a replay is refused by its metadata, and a forged revision must not shut out what follows.
    if not offer.metadata and known is not None:
        if offer.revision < known.revision:
            return replace(state, problem=f"an older offer of {offer.version} was ignored"), []
        if offer.revision == known.revision and offer.manifest_sha256 != known.manifest_sha256:
            return replace(state, problem=f"a second offer with revision {offer.revision} was ignored"), []
    return _follow(replace(state, offered=offer), offer)


def _is_followed(state: State, offer: Offer) -> bool:
    """Whether all that an offer asks for is done or under way."""
    if state.phase != UpdatePhase.IDLE:
        return True
    in_use = offer.manifest_sha256 == state.current.manifest_sha256 and state.is_proven(offer)
    return in_use or state.denial_of(offer) is not None


def _follow(state: State, offer: Offer) -> Step:
    """Bring the update under way in line with the newest offer. Called when one came, and when an update has ended."""
    if state.phase in SWITCHED:
        return state, [Do.SAVE]  # followed when the switch has been proven or rolled back
    denied = state.denial_of(offer)
    if denied is not None:
        return _abandon(state, f"refused: {denied.version}: {denied.reason}")
    under_way = state.target is not None and state.target.manifest_sha256 == offer.manifest_sha256
    fetched_on = under_way and state.phase not in (UpdatePhase.IDLE, UpdatePhase.METADATA)
    if not state.is_proven(offer):
        # Newer metadata for what is being installed anyway are checked afterwards: nothing is tested twice for them.
        return (state, [Do.SAVE]) if fetched_on else _begin(state, offer)
    if offer.manifest_sha256 == state.current.manifest_sha256:
        return _abandon(state)
    return (replace(state, target=offer), [Do.SAVE]) if fetched_on else _begin(state, offer)


def _begin(state: State, offer: Offer) -> Step:
    """Start on another target."""
    # Half-written files stay: where the new manifest lists the same path with the same hash, they are continued.
    progress, announced = synced_only(state.progress), state.announced
    return _fetch_first(replace(_idle(state), target=offer, progress=progress, announced=announced))


def _fetch_first(state: State) -> Step:
    """Fetch what proves the target, or its manifest where it is proven."""
    offer = _target(state)
    proven = state.is_proven(offer)
    phase = UpdatePhase.MANIFEST if proven else UpdatePhase.METADATA
    entries = (manifest_entry(offer),) if proven else metadata_entries(offer)
    size = sum(entry.size_bytes for entry in entries)
    state = replace(state, phase=phase, files=entries, size_bytes=size, requests=())
    return state, [Do.SAVE, e.Survey(entries, resumable(state, entries), prune=False)]


def _abandon(state: State, problem: str | None = None) -> Step:
    """Back to idle with what is in use; whatever was fetched is thrown away."""
    return _idle(state, problem), [Do.SAVE, Do.CLEAR_STAGING]


def _idle(state: State, problem: str | None = None) -> State:
    """Nothing under way: only what outlives an update is kept."""
    return State(
        offered=state.offered,
        proven=state.proven,
        problem=problem,
        current=state.current,
        previous=state.previous,
        denied=state.denied,
        online=state.online,
        checked_at_s=state.checked_at_s,
    )


def _deny(state: State, reason: str) -> Step:
    """Back to idle, and never this one again."""
    offer = _target(state)
    state = replace(state, denied=_with_denied(state, offer, reason))
    return _abandon(state, f"refused: {offer.version}: {reason}")


def _with_denied(state: State, offer: Offer, reason: str) -> tuple[Denied, ...]:
    others = tuple(denied for denied in state.denied if denied.manifest_sha256 != offer.manifest_sha256)
    return (*others, Denied(offer.version, offer.manifest_sha256, reason))


def _target(state: State) -> Offer:
    assert state.target is not None, "every phase but idle has a target"
    return state.target


# --- its proof ---


def _trust_checked(state: State, event: e.TrustChecked, now_s: float, settings: Settings) -> Step:
    """Only what its signed metadata prove is fetched; expired ones block updates and nothing else."""
    if state.phase != UpdatePhase.METADATA:
        return state, []
    before = state.current
    if event.current is not None and event.previous is not None:
        state = replace(state, current=event.current, previous=event.previous)
    if state.current.barred is not None and _can_roll_back(state):
        proven = _target(state) if event.problem is None else state.proven
        return replace(_idle(state, _withdrawn(state.current)), proven=proven), [
            Do.SAVE,
            Do.CLEAR_STAGING,
            Do.ROLL_BACK,
        ]
    changed = (state.current.barred is None) != (before.barred is None)
    state, actions = _proven_or_not(state, event, now_s, settings)
    return state, [Do.USE_CURRENT, *actions] if changed else actions


def _proven_or_not(state: State, event: e.TrustChecked, now_s: float, settings: Settings) -> Step:
    offer = _target(state)
    if event.problem is None:
        return _follow(replace(state, proven=offer, problem=None), offer)
    if event.transient:
        wait_s = now_s + settings.trust_again_s
        return replace(state, problem=event.problem, requests=(), retry_at_s=wait_s), [Do.SAVE]
    problem = f"refused: {offer.version}: {event.problem}"
    if state.current.barred is not None and offer.manifest_sha256 == state.current.manifest_sha256:
        # The server itself sent this offer, to bring the metadata that withdraw the model.
        return _abandon(replace(state, proven=None), _withdrawn(state.current))
    proven = state.proven
    if proven is None or proven.manifest_sha256 == state.current.manifest_sha256 or state.denial_of(proven):
        return _abandon(state, problem)
    # Somebody sent an offer that is not the server's: what the server wanted before is continued.
    state, actions = _begin(state, proven)
    return replace(state, problem=problem), actions


def _can_roll_back(state: State) -> bool:
    """Whether there is a model before the one in use that may guide."""
    return state.previous.version is not None and state.previous.barred is None


def _without_current(state: State) -> UpdateAction:
    """Where the model in use may not guide: the one before it, or none."""
    return Do.ROLL_BACK if _can_roll_back(state) else Do.USE_CURRENT


def _withdrawn(model: ModelIdentity) -> str:
    return f"withdrawn: {model.version}: {model.barred}"


# --- its manifest and files ---


def _manifest_read(state: State, event: e.ManifestRead) -> Step:
    if state.phase != UpdatePhase.MANIFEST:
        return state, []
    version = _target(state).version
    if event.manifest is None:
        # Not denied: the bytes are as offered, and a newer agent may be able to read them.
        return _abandon(state, f"refused: {version}: {event.problem}")
    if event.manifest.version != version:
        return _deny(state, f"its manifest names version {event.manifest.version}")
    files = tuple(sorted(event.manifest.files, key=lambda entry: (entry.path != BLOCKS_NAME, entry.path != DELTA_NAME)))
    hashes = {entry.path: entry.sha256 for entry in files}
    kept = {path: file for path, file in state.progress.items() if hashes.get(path) == file.sha256}
    size = event.manifest.size_bytes
    state = replace(state, phase=UpdatePhase.FILES, files=files, size_bytes=size, progress=kept, reused=False)
    state = replace(state, delta=any(entry.path == DELTA_NAME for entry in files))
    return state, [Do.SAVE, e.Survey(files, resumable(state, files), prune=True)]


def _surveyed(state: State, event: e.FilesSurveyed, now_s: float, settings: Settings) -> Step:
    files = tuple(entry for entry in state.files if entry.path not in event.whole)
    state = replace(state, progress=clipped(state, event.partial), files=files)
    needed = state.missing_bytes + settings.margin_bytes
    if files and needed > event.free_bytes:
        return _too_full(state, needed, event.free_bytes, now_s + settings.retry_s)
    state = replace(state, problem=None, retry_at_s=None)
    # Not those in progress: a copy takes the place of the half-written file, whose ranges are saved as being there.
    untouched = tuple(entry for entry in files if not state.progress_of(entry).synced.spans)
    return state, [e.Reuse(untouched, blocks=False)]


def _too_full(state: State, needed: int, free: int, again_at_s: float) -> Step:
    problem = (
        f"the disk is too full for this model: {-(-needed // 1_000_000)} MB must be free, the reserve for walks "
        f"included, and {free // 1_000_000} MB are"
    )
    first: list[UpdateAction] = [] if state.announced == TOO_FULL else [e.Announce(TOO_FULL), Do.SAVE]
    return replace(state, problem=problem, announced=TOO_FULL, requests=(), retry_at_s=again_at_s), first


def _reused(state: State, event: e.FilesReused, now_s: float, settings: Settings) -> Step:
    for path in event.whole & state.progress.keys():  # begun by blocks, and then made whole
        state = state.with_progress(path, None)
    state = replace(state, files=tuple(entry for entry in state.files if entry.path not in event.whole))
    for entry in state.files:
        if entry.path in event.blocks:
            progress = state.progress_of(entry)
            progress = replace(progress, synced=progress.synced.union(event.blocks[entry.path]))
            state = state.with_progress(entry.path, progress)
    return _save_and_fetch(state, now_s, settings) if event.whole or event.blocks else _fetch(state, now_s, settings)


def _save_and_fetch(state: State, now_s: float, settings: Settings) -> Step:
    state, actions = _fetch(state, now_s, settings)
    return state, [Do.SAVE, *actions]


def _fetch(state: State, now_s: float, settings: Settings) -> Step:
    """Request what is missing, or take the next step where nothing is."""
    if not state.files:
        return _all_fetched(state)
    if state.retry_at_s is not None:
        return state, []
    for entry in state.files:
        if state.progress_of(entry).synced.covers(0, entry.size_bytes):
            return state, [e.SyncFile(entry, complete=True)]
    if state.phase == UpdatePhase.FILES and not any(entry.path in lone(state) for entry in state.files):
        if state.delta:
            return replace(state, delta=False), [e.Assemble(state.files)]
        if not state.reused:
            return replace(state, reused=True), [e.Reuse(state.files, blocks=True)]
    return fill_window(state, now_s, settings)


def _all_fetched(state: State) -> Step:
    if state.phase == UpdatePhase.METADATA:
        return state, [Do.CHECK_TRUST]
    if state.phase == UpdatePhase.MANIFEST:
        return state, [Do.READ_MANIFEST]
    return replace(state, phase=UpdatePhase.VERIFYING, requests=()), [Do.SAVE, Do.VERIFY]


def _block_received(state: State, event: e.BlockReceived) -> Step:
    start, stop = event.offset, event.offset + len(event.data)
    entry = awaiting(state, event.sha256, start, stop)
    if entry is None or state.retry_at_s is not None:
        return state, []
    progress = state.progress_of(entry)
    progress = replace(progress, unsynced=progress.unsynced.add(start, stop))
    state = replace(state.with_progress(entry.path, progress), timeouts=0)
    actions: list[UpdateAction] = [e.WriteBlock(entry.path, start, event.data)]
    complete = progress.here.covers(0, entry.size_bytes)
    if complete or any(request.path == entry.path and is_answered(state, request) for request in state.requests):
        actions.append(e.SyncFile(entry, complete=complete))
    return state, actions


def _file_synced(state: State, event: e.FileSynced, now_s: float, settings: Settings) -> Step:
    entry = next((entry for entry in state.files if entry.path == event.path), None)
    if entry is None:
        return state, []
    if event.whole is None:
        return _part_synced(state, entry, event.bad, now_s, settings)
    requests = tuple(request for request in state.requests if request.path != entry.path)
    state = replace(state.with_progress(entry.path, None), requests=requests)
    if not event.whole:
        return _fetch_again(state, [entry.path], now_s, settings)
    state = replace(state, files=tuple(other for other in state.files if other != entry))
    return _save_and_fetch(state, now_s, settings)


def _part_synced(state: State, entry: FileEntry, bad: Ranges, now_s: float, settings: Settings) -> Step:
    progress = FileProgress(entry.sha256, state.progress_of(entry).here.minus(bad))
    state = state.with_progress(entry.path, progress)
    waiting = (request for request in state.requests if not is_answered(state, request))
    state = replace(state, requests=tuple(request for request in waiting if not touches(request, entry.path, bad)))
    if bad.spans:
        return _fetch_again(state, [f"{entry.path}@{start}" for start, _ in bad.spans], now_s, settings)
    return _save_and_fetch(state, now_s, settings)


def _fetch_again(state: State, bad: list[str], now_s: float, settings: Settings) -> Step:
    """Throw wrong bytes away and fetch them again, a limited number of times."""
    counts = dict(state.bad)
    for name in bad:
        counts[name] = counts.get(name, 0) + 1
        if counts[name] >= settings.bad_copies:
            reason = f"{name} arrived with a wrong SHA-256, {counts[name]} times"
            return _never_right(replace(state, bad=counts), reason, now_s, settings)
    state = replace(state, bad=counts, problem=f"{', '.join(sorted(bad))} arrived damaged and is fetched again")
    return _save_and_fetch(state, now_s, settings)


def _never_right(state: State, reason: str, now_s: float, settings: Settings) -> Step:
    """What is signed is right, and who brings other bytes is not: a broker that was broken into must not be able to
    shut a good model out for good."""
    if not _target(state).metadata:
        return _deny(state, reason)
    if state.phase == UpdatePhase.METADATA:
        return _trust_checked(state, e.TrustChecked(reason), now_s, settings)
    state = replace(state, bad={}, requests=(), problem=reason, retry_at_s=now_s + settings.bad_again_s)
    return state, [Do.SAVE]


def _repeat_requests(state: State, now_s: float, settings: Settings) -> Step:
    """Request block ranges again whose request timed out."""
    timeout_s = exponential_s(state.timeouts, base_s=settings.ask_again_s, max_s=settings.ask_again_most_s)
    waiting = tuple(request for request in state.requests if now_s - request.at_s < timeout_s)
    if len(waiting) < len(state.requests):
        state = replace(state, timeouts=state.timeouts + 1, requests=waiting)
    elif waiting:
        return state, []
    # What did come is kept even if the rest never does.
    syncs: list[UpdateAction] = [
        e.SyncFile(entry, complete=False) for entry in state.files if state.progress_of(entry).unsynced.spans
    ]
    return (state, syncs) if syncs else _fetch(state, now_s, settings)


def _link_changed(state: State, now_s: float, settings: Settings, *, online: bool) -> Step:
    state = replace(state, online=online, requests=(), timeouts=0)  # what was on its way is lost
    return _repeat_requests(state, now_s, settings) if online and state.phase in FETCHING else (state, [])


# --- verify, test, switch ---


def _verified(state: State, damaged: Mapping[str, str], settings: Settings) -> Step:
    if state.phase not in (UpdatePhase.VERIFYING, UpdatePhase.READY):
        return state, []
    if not damaged:
        return _activate(state) if state.phase == UpdatePhase.READY else _test(state, settings)
    counts = {path: state.bad.get(path, 0) + 1 for path in damaged}
    path = max(counts, key=lambda name: counts[name])
    if counts[path] >= settings.bad_copies:
        return _deny(state, f"{path}: {damaged[path]} ({counts[path]} times)")
    state, actions = _fetch_first(replace(state, bad={**state.bad, **counts}))
    return replace(state, problem=f"{path} was damaged on disk and is fetched again"), actions


def _test(state: State, settings: Settings) -> Step:
    # Counted before it runs: a self-test that takes the agent down must not do so at every start.
    if state.tests >= settings.test_starts:
        return _deny(state, f"the agent did not survive its self-test {state.tests} times")
    return replace(state, phase=UpdatePhase.TESTING, tests=state.tests + 1, retry_at_s=None), [Do.SAVE, Do.SELF_TEST]


def _tested(state: State, problems: tuple[str, ...], now_s: float, settings: Settings) -> Step:
    if state.phase != UpdatePhase.TESTING:
        return state, []
    if not problems:
        return replace(state, phase=UpdatePhase.READY, problem=None, tests=0), [Do.SAVE]
    problem = "self-test: " + "; ".join(problems)
    if state.tests >= settings.test_runs:
        return _deny(state, problem)
    return replace(state, problem=problem, retry_at_s=now_s + settings.retry_s), []


def _activate(state: State) -> Step:
    return replace(state, phase=UpdatePhase.ACTIVATING), [Do.SAVE, Do.ACTIVATE]


def _switched(state: State, event: e.ModelSwitched) -> Step:
    target, reason = state.target, state.reason
    if state.phase == UpdatePhase.ACTIVATING and event.problem is not None:
        return _ended(_idle(state, event.problem))
    state = replace(state, current=event.current, previous=event.previous)
    if state.phase == UpdatePhase.ACTIVATING:
        return _activated(state)
    if state.phase == UpdatePhase.ROLLING_BACK and target is not None:
        state = _idle(state, f"refused: {target.version}: {reason}")
    # Else the model in use was damaged on disk, or may not guide: it may be fetched again.
    state, actions = _ended(state)
    return state, [Do.USE_CURRENT, *actions]


def _activated(state: State) -> Step:
    if state.current.barred is not None:  # since it was verified: without looks its probation would never end
        return _idle(state, _withdrawn(state.current)), [Do.SAVE, _without_current(state)]
    state = replace(_idle(state), phase=UpdatePhase.PROBATION, target=state.target, announced=state.announced, starts=1)
    # Used first: should saving fail, the agent still runs what `current` names, and the start is repeated.
    return state, [Do.USE_CURRENT, Do.SAVE]


# --- probation, failures, roll-back ---


def _looked(state: State, problem: str | None, now_s: float, settings: Settings) -> Step:
    if problem is not None:
        return _look_failed(state, problem, now_s, settings)
    if state.phase != UpdatePhase.PROBATION:
        return state, []
    state = replace(state, looks=state.looks + 1)
    return _ended(_idle(state)) if state.looks >= settings.probation_looks else (state, [])


def _look_failed(state: State, problem: str, now_s: float, settings: Settings) -> Step:
    if state.phase == UpdatePhase.PROBATION:
        return _give_up(state, problem)
    if state.phase in SWITCHED:
        return state, []
    state = replace(state, problem=problem)
    if state.checked_at_s is not None and now_s - state.checked_at_s < settings.check_current_s:
        return state, []  # hashing 300 MB at every failed look would starve guidance
    return replace(state, checked_at_s=now_s), [Do.CHECK_CURRENT]


def _ended(state: State) -> Step:
    """An update is over; a newer offer may have come meanwhile."""
    offer = state.offered
    return (state, [Do.SAVE]) if offer is None or _is_followed(state, offer) else _follow(state, offer)


def _give_up(state: State, reason: str) -> Step:
    """The model on probation failed."""
    offer = _target(state)
    if not _can_roll_back(state):
        return _ended(_idle(state, f"{offer.version} fails ({reason}) and stays: there is no other model"))
    return _deny_and_roll_back(state, offer, reason)


def _deny_and_roll_back(state: State, offer: Offer, reason: str) -> Step:
    denied = _with_denied(state, offer, reason)
    state = replace(state, phase=UpdatePhase.ROLLING_BACK, target=offer, reason=reason, denied=denied)
    return state, [Do.SAVE, Do.ROLL_BACK]


def _roll_back_by_hand(state: State) -> Step:
    """The version in use is denied by that: the server's offer would bring it back within a minute."""
    current = state.current
    if state.phase == UpdatePhase.PROBATION and state.previous.version is not None:
        return _give_up(state, BY_HAND)
    if state.phase in SWITCHED or state.previous.version is None:
        return replace(state, problem="there is no previous model to go back to now"), []
    if current.version is None or current.manifest_sha256 is None:  # its manifest cannot be read: nothing to deny
        return state, [Do.ROLL_BACK]
    in_use = Offer(current.version, current.manifest_sha256, 0, 0.0)
    state, (save, roll_back) = _deny_and_roll_back(_idle(state), in_use, BY_HAND)
    return state, [save, Do.CLEAR_STAGING, roll_back]


def _forgive(state: State, version: str | None) -> Step:
    """Try a denied version again."""
    left = tuple(denied for denied in state.denied if denied.version != version)
    if left == state.denied:
        return state, []
    state = replace(state, denied=left)
    return _ended(replace(state, problem=None)) if state.phase == UpdatePhase.IDLE else (state, [Do.SAVE])


def _current_checked(state: State, event: e.CurrentChecked) -> Step:
    if event.problem is None:
        return state, []
    state = replace(state, problem=event.problem)
    return (state, []) if state.phase in SWITCHED or not event.previous_fit else (state, [Do.ROLL_BACK])
