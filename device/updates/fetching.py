"""Fetching: the signed metadata, the manifest, then the files, from the link or from what the device has. Pure.

Each part here is a `step` of `device.updates.machine`, or ends one: `follow`, `begin`, `abandon`, `deny`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from device.updates.events import (
    Action,
    Announce,
    AskDropped,
    BlockCame,
    Check,
    Checked,
    CheckTrust,
    ClearIncoming,
    Copied,
    Copy,
    DiskTrouble,
    LinkChanged,
    ManifestRead,
    ReadManifest,
    Reuse,
    Reused,
    RollBack,
    Save,
    SaveDenied,
    Step,
    Survey,
    Surveyed,
    Sync,
    Synced,
    Tell,
    TrustChecked,
    Verify,
    Write,
)
from device.updates.request_window import all_here, answered, ask, awaiting, clipped, resumable, synced_only, touches
from device.updates.state import (
    FETCHING,
    FILES,
    IDLE,
    LINK,
    LOCAL,
    MANIFEST,
    METADATA,
    SWITCHED,
    VERIFYING,
    Denied,
    Identity,
    Progress,
    Settings,
    State,
    is_denied,
    is_proven,
    manifest_entry,
    metadata_entries,
    progress_of,
    unfetched,
    with_progress,
)
from shared.backoff import exponential_s
from shared.bundle import BLOCKS_NAME, FileEntry
from shared.messages import Offer

TOO_FULL = "Update waits. Storage is full."

# --- which offer ---


def follow(state: State, offer: Offer) -> Step:
    """Bring the update under way in line with the newest offer. Called when one came, and when an update has ended."""
    if state.phase in SWITCHED:
        return state, [Save()]  # looked at again when the switch has been proven or taken back
    denied = is_denied(state, offer)
    if denied is not None:
        return abandon(state, f"refused: {denied.version}: {denied.reason}")
    same = state.target is not None and state.target.manifest_sha256 == offer.manifest_sha256 and state.phase != IDLE
    if not is_proven(state, offer):
        # Newer metadata for what is being installed anyway are looked at afterwards: nothing is tested twice for them.
        return (state, [Save()]) if same and state.phase != METADATA else begin(state, offer, LINK)
    if offer.manifest_sha256 == state.current.manifest_sha256:
        return abandon(state, "")
    if same and state.phase != METADATA:
        return replace(state, target=offer, origin=LINK), [Save()]
    return begin(state, offer, LINK)


def begin(state: State, offer: Offer, origin: str) -> Step:
    """Start on another target."""
    # Half-written files stay: where the new manifest lists the same path with the same hash, they are gone on with.
    progress, told = state.progress, state.told
    state = replace(idle(state, ""), target=offer, origin=origin, progress=synced_only(progress), told=told)
    return fetch_first(state)


def fetch_first(state: State) -> Step:
    """What proves the target, or its manifest where it is proven."""
    assert state.target is not None
    if state.origin == LINK and not is_proven(state, state.target):
        return _survey(replace(state, phase=METADATA), metadata_entries(state.target))
    return _survey(replace(state, phase=MANIFEST), (manifest_entry(state.target),))


def _survey(state: State, entries: tuple[FileEntry, ...]) -> Step:
    state = replace(state, files=entries, size_bytes=sum(entry.size_bytes for entry in entries), asked=())
    return state, [Save(), Survey(entries, resumable(state, entries), prune=False)]


def abandon(state: State, problem: str) -> Step:
    """Back to idle with what is in use; whatever was fetched is thrown away."""
    return idle(state, problem), [Save(), ClearIncoming()]


def idle(state: State, problem: str) -> State:
    """Nothing under way."""
    return replace(
        state,
        phase=IDLE,
        target=None,
        origin=LINK,
        progress={},
        bad={},
        tests=0,
        looks=0,
        starts=0,
        problem=problem,
        reason="",
        told="",
        files=(),
        size_bytes=0,
        reused=False,
        asked=(),
        silent=0,
        retry_at_s=None,
    )


def deny(state: State, reason: str) -> Step:
    """Back to idle, and never this one again."""
    assert state.target is not None
    if state.origin == LOCAL:
        return abandon(state, reason)
    listed = with_denied(state, state.target, reason)
    problem = f"refused: {state.target.version}: {reason}"
    return replace(idle(state, problem), denied=listed), [SaveDenied(), Save(), ClearIncoming()]


def with_denied(state: State, offer: Offer, reason: str) -> tuple[Denied, ...]:
    """The deny list with one more on it."""
    others = tuple(one for one in state.denied if one.manifest_sha256 != offer.manifest_sha256)
    return (*others, Denied(offer.version, offer.manifest_sha256, reason))


def trust_checked(state: State, event: TrustChecked, now_s: float, settings: Settings) -> Step:
    """Only what its signed metadata prove is fetched; expired ones block updates and nothing else."""
    if state.phase != METADATA or state.target is None:
        return state, []
    before = state.current
    if event.current is not None and event.previous is not None:
        state = replace(state, current=event.current, previous=event.previous)
    if state.current.barred and falls_back(state):
        offer, problem = state.target, withdrawn(state.current)
        state = replace(idle(state, problem), proven=state.proven if event.problem else offer)
        return state, [Save(), ClearIncoming(), RollBack()]
    changed = state.current.barred != before.barred and "" in (state.current.barred, before.barred)
    state, actions = _trusted_or_not(state, event, now_s, settings)
    return state, [Announce(), *actions] if changed else actions


def falls_back(state: State) -> bool:
    """Whether the model before the one in use may guide."""
    return bool(state.previous.version) and not state.previous.barred


def withdrawn(model: Identity) -> str:
    """For the status."""
    return f"withdrawn: {model.version}: {model.barred}"


def _trusted_or_not(state: State, event: TrustChecked, now_s: float, settings: Settings) -> Step:
    offer = state.target
    assert offer is not None
    if not event.problem:
        return follow(replace(state, proven=offer, problem=""), offer)
    if event.passing:
        wait_s = now_s + settings.trust_again_s
        return replace(state, problem=event.problem, asked=(), retry_at_s=wait_s), [Save()]
    problem = f"refused: {offer.version}: {event.problem}"
    proven = state.proven
    if state.current.barred and offer.manifest_sha256 == state.current.manifest_sha256:
        problem, proven = withdrawn(state.current), None  # the server itself sent it, to bring these metadata
        state = replace(state, proven=None)
    if proven is None or proven.manifest_sha256 == state.current.manifest_sha256 or is_denied(state, proven):
        return abandon(state, problem)
    # Somebody sent an offer that is not the server's: what the server wanted before goes on.
    state, actions = begin(state, proven, LINK)
    return replace(state, problem=problem), actions


# --- what is fetched ---


def manifest_read(state: State, event: ManifestRead, now_s: float, settings: Settings) -> Step:
    """The list of files is here."""
    if state.phase != MANIFEST or state.target is None:
        return state, []
    if event.manifest is None:
        # Not denied: the bytes are as offered, and a newer agent may be able to read them.
        return abandon(state, f"refused: {state.target.version}: {event.problem}")
    if event.manifest.version != state.target.version:
        return deny(state, f"its manifest names version {event.manifest.version}")
    files = tuple(sorted(event.manifest.files, key=lambda entry: entry.path != BLOCKS_NAME))
    wanted = {entry.path: entry.sha256 for entry in files}
    kept = {path: old for path, old in state.progress.items() if wanted.get(path) == old.sha256}
    size = event.manifest.size_bytes
    state = replace(state, phase=FILES, files=files, size_bytes=size, progress=kept, reused=False)
    return state, [Save(), Survey(files, resumable(state, files), prune=True)]


def surveyed(state: State, event: Surveyed, now_s: float, settings: Settings) -> Step:
    """Is there room, and what need not be fetched?"""
    if state.phase not in FETCHING:
        return state, []
    files = tuple(entry for entry in state.files if entry.path not in event.whole)
    state = replace(state, progress=clipped(state, event.partial), files=files)
    needed = unfetched(state) + settings.margin_bytes
    if files and needed > event.free_bytes:
        return _too_full(state, needed, event.free_bytes, now_s + settings.retry_s)
    state = replace(state, problem="", retry_at_s=None)
    found = tuple(entry for entry in files if entry.path in event.elsewhere)
    if not found:
        return _fetch(state, now_s, settings)
    # A copy takes the name of the half-written file, whose ranges count no longer: that is saved first.
    for entry in found:
        state = with_progress(state, entry.path, None)
    return state, [Save(), Copy(found)]


def _too_full(state: State, needed: int, free: int, again_at_s: float) -> Step:
    problem = (
        f"the disk is too full for this model: {_mb(needed)} MB must be free, the reserve for walks included, and "
        f"{free // 1_000_000} MB are"
    )
    news: list[Action] = [] if state.told == TOO_FULL else [Tell(TOO_FULL), Save()]
    return replace(state, problem=problem, told=TOO_FULL, asked=(), retry_at_s=again_at_s), news


def copied(state: State, event: Copied, now_s: float, settings: Settings) -> Step:
    """Whole files came from the models on this device."""
    if state.phase not in FETCHING:
        return state, []
    files = tuple(entry for entry in state.files if entry.path not in event.copied)
    return _fetch(replace(state, files=files), now_s, settings)


def reused(state: State, event: Reused, now_s: float, settings: Settings) -> Step:
    """Blocks came from the models on this device."""
    if state.phase != FILES:
        return state, []
    for entry in state.files:
        found = event.found.get(entry.path)
        if found is not None:
            progress = progress_of(state, entry)
            have = progress.have.union(found)
            state = with_progress(state, entry.path, Progress(entry.sha256, have, progress.fresh))
    state, actions = _fetch(state, now_s, settings)
    return state, [Save(), *actions]


def _fetch(state: State, now_s: float, settings: Settings) -> Step:
    """Ask for what is missing, or go on where nothing is."""
    if not state.files:
        return _all_fetched(state)
    if state.origin == LOCAL:
        return abandon(state, f"{state.files[0].path} could not be copied")
    if state.retry_at_s is not None:
        return state, []
    done = [Check(entry) for entry in state.files if progress_of(state, entry).have.covers(0, entry.size_bytes)]
    if done:
        return state, [done[0]]
    if state.phase == FILES and not state.reused and all(entry.path != BLOCKS_NAME for entry in state.files):
        return replace(state, reused=True), [Reuse(state.files)]
    return ask(state, now_s, settings)


def _all_fetched(state: State) -> Step:
    if state.phase == METADATA:
        assert state.target is not None
        return state, [CheckTrust(state.target)]
    if state.phase == MANIFEST:
        return state, [ReadManifest()]
    return replace(state, phase=VERIFYING, asked=()), [Save(), Verify()]


def block_came(state: State, event: BlockCame, now_s: float, settings: Settings) -> Step:
    """Bytes came over the link."""
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


def synced(state: State, event: Synced, now_s: float, settings: Settings) -> Step:
    """They are on disk; blocks that are whole were hashed."""
    entry = next((entry for entry in state.files if entry.path == event.path), None)
    if entry is None or state.phase not in FETCHING:
        return state, []
    progress = progress_of(state, entry)
    progress = Progress(entry.sha256, progress.have.union(progress.fresh).minus(event.bad))
    state = with_progress(state, entry.path, progress)
    done = [one for one in state.asked if answered(state, one) or touches(one, entry.path, event.bad)]
    state = replace(state, asked=tuple(one for one in state.asked if one not in done))
    if event.bad.spans:
        bad = {f"{entry.path}@{start}": "arrived with a wrong SHA-256" for start, _ in event.bad.spans}
        return _bad_copies(state, bad, now_s, settings)
    state, actions = _fetch(state, now_s, settings)
    return state, [Save(), *actions]


def checked(state: State, event: Checked, now_s: float, settings: Settings) -> Step:
    """A whole file was hashed."""
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
    """Throw wrong bytes away and fetch them again, but not for ever."""
    counts = dict(state.bad)
    for path, what in bad.items():
        counts[path] = counts.get(path, 0) + 1
        if counts[path] >= settings.bad_copies:
            return _never_right(replace(state, bad=counts), f"{path} {what}, {counts[path]} times", now_s, settings)
    state = replace(state, bad=counts, problem=f"{', '.join(sorted(bad))} arrived damaged and is fetched again")
    state, actions = _fetch(state, now_s, settings)
    return state, [Save(), *actions]


def _never_right(state: State, reason: str, now_s: float, settings: Settings) -> Step:
    """What is signed is right, and who brings other bytes is not: a broker that was broken into must not be able to
    shut a good model out for good."""
    assert state.target is not None
    if not state.target.metadata:
        return deny(state, reason)
    if state.phase == METADATA:
        return trust_checked(state, TrustChecked(reason), now_s, settings)
    state = replace(state, bad={}, asked=(), problem=reason, retry_at_s=now_s + settings.bad_again_s)
    return state, [Save()]


# --- time, link, disk ---


def ask_again(state: State, now_s: float, settings: Settings) -> Step:
    """Re-request block ranges whose request timed out."""
    patience_s = exponential_s(state.silent, base_s=settings.ask_again_s, max_s=settings.ask_again_most_s)
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


def link_changed(state: State, event: LinkChanged, now_s: float, settings: Settings) -> Step:
    """What was on its way is lost."""
    state = replace(state, online=event.online, asked=(), silent=0)
    if state.phase in FETCHING and event.online:
        return ask_again(state, now_s, settings)
    return state, []


def ask_dropped(state: State, _event: AskDropped, now_s: float, settings: Settings) -> Step:
    """Asked again on the next tick: it costs nothing while the link is down."""
    return replace(state, asked=()), []


def disk_trouble(state: State, event: DiskTrouble, now_s: float, settings: Settings) -> Step:
    """Wait, and begin again with what is synced."""
    state = replace(state, problem=event.reason, asked=(), retry_at_s=now_s + settings.retry_s)
    return replace(state, progress=synced_only(state.progress)), []


def _mb(size_bytes: int) -> int:
    return -(-size_bytes // 1_000_000)
