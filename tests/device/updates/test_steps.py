"""Properties of the pure part: whatever comes in whatever order, the rules of device.updates.state hold."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from device.updates import events as e
from device.updates import state as u
from device.updates.machine import step
from device.updates.operator_requests import OperatorRequest, RequestKind
from shared.bundle import FileEntry, Manifest
from shared.messages import MetadataFile, Offer, Want
from shared.transfer import Ranges

SETTINGS = u.Settings(
    block_bytes=1000,
    blocks_per_want=3,
    window_bytes=5000,
    wants_in_flight=4,
    margin_bytes=10,
    probation_looks=2,
    probation_starts=2,
)
OLD = u.ModelIdentity("m0", "00" * 32)
NEW = u.ModelIdentity("m1", "10" * 32)


def manifest(number: int) -> Manifest:
    files = (
        FileEntry("big.onnx", 9_500, f"a{number}" * 32),
        FileEntry("same.json", 700, "bb" * 32),
        FileEntry("empty", 0, "cc" * 32),
    )
    return Manifest(1, f"m{number}", 0.0, "", "", "demo", files, {}, {})


def offer(number: int, revision: int) -> Offer:
    return Offer(f"m{number}", f"{number}0" * 32, 300, 1.0, revision)


PATHS = ("manifest.json", "big.onnx", "same.json", "empty")
NUMBERS = st.integers(1, 3)
PROBLEMS = st.none() | st.just("it fails")
RANGES = st.sampled_from((Ranges(), Ranges(((0, 1000),)), Ranges(((0, 9_500),))))
EVENTS: st.SearchStrategy[e.UpdateEvent] = st.one_of(
    st.builds(e.AgentStarted),
    st.builds(lambda n, r: e.Offered(offer(n, r)), NUMBERS, st.integers(0, 5)),
    st.builds(e.OfferRefused, st.just("it fails")),
    st.builds(
        lambda sha, offset, size: e.BlockReceived(sha, offset, bytes(size)),
        st.sampled_from(("a1" * 32, "a2" * 32, "bb" * 32, "10" * 32)),
        st.sampled_from((0, 100, 1000, 3000, 9000, 2**40)),
        st.sampled_from((0, 100, 300, 500, 700, 1000, 3000)),
    ),
    st.builds(e.FileSynced, st.sampled_from(PATHS), whole=st.none() | st.booleans()),
    st.builds(lambda n: e.ManifestRead(manifest(n)), NUMBERS),
    st.just(e.ManifestRead(None, "too new")),
    st.builds(
        e.FilesSurveyed,
        st.frozensets(st.sampled_from(PATHS)),
        st.dictionaries(st.sampled_from(PATHS), st.integers(0, 10_000)),
        st.sampled_from((0, 10_000, 2**40)),
    ),
    st.builds(e.FilesReused, st.frozensets(st.sampled_from(PATHS)), st.dictionaries(st.sampled_from(PATHS), RANGES)),
    st.builds(e.BundleVerified, st.dictionaries(st.sampled_from(PATHS), st.just("altered"))),
    st.builds(lambda problem: e.BundleTested(() if problem is None else (problem,)), PROBLEMS),
    st.builds(e.UpdateTick, st.booleans()),
    st.builds(e.LinkChanged, st.booleans()),
    st.builds(lambda n, why: e.ModelSwitched(u.ModelIdentity(f"m{n}", f"{n}0" * 32), OLD, why), NUMBERS, PROBLEMS),
    st.just(e.ModelSwitched(OLD, u.ModelIdentity())),
    st.builds(e.ModelLooked, PROBLEMS),
    st.builds(e.CurrentChecked, PROBLEMS, st.booleans()),
    st.builds(e.ActionFailed, PROBLEMS),
    st.builds(OperatorRequest, st.sampled_from(RequestKind), st.none() | st.just("m1")),
)


def check_rules(before: u.State, event: e.UpdateEvent, after: u.State, actions: list[e.UpdateAction]) -> None:
    assert after.phase in u.UpdatePhase
    assert sum(request.size_bytes for request in after.requests) <= SETTINGS.window_bytes
    assert len(after.requests) <= SETTINGS.wants_in_flight
    for path in PATHS:  # nothing is on the way twice, or although it is here
        ranges = [span for request in after.requests if request.path == path for span in request.ranges]
        assert Ranges.of(ranges).total == sum(stop - start for start, stop in ranges)
    for at, action in enumerate(actions):
        if isinstance(action, e.Ask):
            assert after.online
            assert after.phase in u.FETCHING
            assert len(action.want.ranges) > 0
            assert sum(-(-(b - a) // SETTINGS.block_bytes) for a, b in action.want.ranges) <= SETTINGS.blocks_per_want
        if action == e.Do.ACTIVATE:  # only after a self-test that passed
            assert after.phase == u.UpdatePhase.ACTIVATING
            assert before.phase in (u.UpdatePhase.READY, u.UpdatePhase.ACTIVATING)
            assert actions[:at].count(e.Do.SAVE) == 1
    if e.Do.ROLL_BACK in actions and after.phase == u.UpdatePhase.ROLLING_BACK:
        assert actions[0] == e.Do.SAVE
        by_hand = isinstance(event, OperatorRequest)
        assert by_hand or any(after.target and one.version == after.target.version for one in after.denied)
    if e.Do.USE_CURRENT in actions:
        assert isinstance(event, e.ModelSwitched)
    if before.phase != u.UpdatePhase.ACTIVATING and after.phase == u.UpdatePhase.ACTIVATING:
        assert before.phase == u.UpdatePhase.READY
        assert isinstance(event, e.UpdateTick | e.BundleVerified)
        assert isinstance(event, e.BundleVerified) or event.may_switch or not before.current.version
    if after.phase == u.UpdatePhase.ROLLING_BACK and before.phase == u.UpdatePhase.PROBATION:
        assert before.previous.version
    forgiven = {event.version} if isinstance(event, OperatorRequest) else set()
    assert {one.version for one in before.denied} - forgiven <= {one.version for one in after.denied}
    if after.phase in (u.UpdatePhase.MANIFEST, u.UpdatePhase.FILES) and before.phase == u.UpdatePhase.IDLE:
        assert after.target is not None
        assert forgiven or before.denial_of(after.target) is None
    known, now = before.offered, after.offered
    assert known is None or (now is not None and now.revision >= known.revision)


@given(st.lists(EVENTS, max_size=40))
def test_no_sequence_of_events_breaks_a_rule(events: list[e.UpdateEvent]) -> None:
    state, now_s = u.State(current=OLD), 0.0
    for event in events:
        now_s += 7.0
        after, actions = step(state, event, now_s, SETTINGS)
        check_rules(state, event, after, actions)
        state = after


@given(EVENTS, st.sampled_from(u.UpdatePhase))
def test_every_phase_takes_every_event(event: e.UpdateEvent, phase: u.UpdatePhase) -> None:
    files = manifest(1).files if phase == u.UpdatePhase.FILES else ()
    state = u.State(phase=phase, target=offer(1, 1), offered=offer(1, 1), current=OLD, files=files)
    after, _ = step(state, event, 1.0, SETTINGS)
    assert after.phase in u.UpdatePhase


# --- models that may not guide (any more) ---

BARRED = st.none() | st.just("it is on trial")
SLOTS = st.builds(lambda why: replace(OLD, barred=why), BARRED)
BEFORE = st.builds(lambda version, why: u.ModelIdentity(version, "11" * 32, why), st.none() | st.just("m9"), BARRED)
CHECKS = st.builds(
    lambda problem, current, previous: e.TrustChecked(problem, current=current, previous=previous),
    st.none() | st.just("it is not signed"),
    SLOTS,
    BEFORE,
)


def may_go_back_to(previous: u.ModelIdentity | None) -> bool:
    return previous is not None and previous.version is not None and previous.barred is None


@given(CHECKS, SLOTS, BEFORE, st.booleans())
def test_newer_metadata_that_bar_the_model_in_use_take_it_out_of_use_at_once(
    event: e.TrustChecked, current: u.ModelIdentity, previous: u.ModelIdentity, recalled: bool
) -> None:
    wanted = replace(offer(1, 1), metadata=(MetadataFile("timestamp.json", 1, "ee" * 32),))
    if recalled:  # the model in use is offered once more, under metadata that may say otherwise now
        wanted = replace(wanted, version="m0", manifest_sha256="00" * 32)
    state = u.State(phase=u.UpdatePhase.METADATA, target=wanted, offered=wanted, current=current, previous=previous)
    after, actions = step(state, event, 1.0, SETTINGS)
    assert event.current is not None
    assert after.current == event.current
    back = event.current.barred is not None and may_go_back_to(event.previous)
    assert (e.Do.ROLL_BACK in actions) == back
    changed = (event.current.barred is None) != (current.barred is None)
    assert (e.Do.USE_CURRENT in actions) == (changed and not back)
    assert after.denied == ()
    if event.current.barred is not None and event.problem is not None and recalled:
        assert (after.problem or "").startswith("withdrawn: m0")
        assert after.proven is None


@given(st.sampled_from(u.UpdatePhase), BEFORE)
def test_a_start_with_a_barred_model_never_waits_for_looks_that_do_not_come(
    phase: u.UpdatePhase, previous: u.ModelIdentity
) -> None:
    barred = replace(OLD, barred="it is on trial")
    state = u.State(phase=phase, target=offer(1, 1), offered=offer(1, 1), current=barred, previous=previous)
    after, actions = step(state, e.AgentStarted(), 1.0, SETTINGS)
    if phase in (u.UpdatePhase.ACTIVATING, u.UpdatePhase.ROLLING_BACK):  # a switch under way is finished first
        return
    assert after.phase != u.UpdatePhase.PROBATION
    assert actions[0] == (e.Do.ROLL_BACK if may_go_back_to(previous) else e.Do.USE_CURRENT)
    assert after.denied == ()


@given(BEFORE)
def test_a_model_that_is_barred_the_moment_it_is_switched_to_gives_way(previous: u.ModelIdentity) -> None:
    state = u.State(phase=u.UpdatePhase.ACTIVATING, target=offer(1, 1), offered=offer(1, 1), current=OLD)
    new = u.ModelIdentity("m1", "10" * 32, "it is on trial")
    after, actions = step(state, e.ModelSwitched(new, previous), 1.0, SETTINGS)
    assert (after.phase, after.current) == (u.UpdatePhase.IDLE, new)
    assert actions[-1] == (e.Do.ROLL_BACK if may_go_back_to(previous) else e.Do.USE_CURRENT)


def test_a_cut_between_the_deny_list_and_the_state_still_ends_in_the_roll_back() -> None:
    state = u.State(phase=u.UpdatePhase.PROBATION, target=offer(1, 1), offered=offer(1, 1), current=NEW, previous=OLD)
    failed, actions = step(state, e.ModelLooked("it fails"), 1.0, SETTINGS)
    assert actions == [e.Do.SAVE, e.Do.ROLL_BACK]
    again, actions = step(replace(state, denied=failed.denied), e.AgentStarted(), 1.0, SETTINGS)
    assert actions == [e.Do.SAVE, e.Do.ROLL_BACK]
    assert (again.phase, again.reason, again.denied) == (u.UpdatePhase.ROLLING_BACK, "it fails", failed.denied)


# --- with a disk and a server that lose and repeat, but not for ever ---


@dataclass
class SimulatedDevice:
    """Carries actions out in memory. `chance` decides what goes wrong."""

    chance: random.Random
    trouble: int
    state: u.State = field(default_factory=lambda: u.State(current=OLD))
    saved: u.State = field(default_factory=lambda: u.State(current=OLD))
    now_s: float = 0.0
    disk: dict[str, tuple[str, Ranges]] = field(default_factory=dict)
    """Half-written files: path -> (content's hash, what is synced)."""
    whole: dict[str, str] = field(default_factory=dict)
    wants: list[Want] = field(default_factory=list)
    current: u.ModelIdentity = OLD
    previous: u.ModelIdentity = field(default_factory=u.ModelIdentity)
    carried: int = 0
    cuts: int = 0

    def fails(self) -> bool:
        if self.trouble > 0 and self.chance.random() < 0.15:
            self.trouble -= 1
            return True
        return False

    def put(self, event: e.UpdateEvent) -> None:
        events = [event]
        while events:
            event = events.pop(0)
            before = self.state
            self.state, actions = step(before, event, self.now_s, SETTINGS)
            check_rules(before, event, self.state, actions)
            for action in actions:
                result = e.ActionFailed("the update waits: I/O error") if self.fails() else self.do(action)
                if result is not None:
                    events.append(result)
                if isinstance(result, e.ActionFailed):
                    break

    def do(self, action: e.UpdateAction) -> e.UpdateEvent | None:
        match action:
            case e.Do.SAVE:
                self.saved = self.state
            case e.Ask(want):
                if self.fails():
                    return e.ActionFailed(None)
                self.wants.append(want)
            case e.SyncFile(entry, complete):
                return self.sync(entry, complete=complete)
            case e.Do.READ_MANIFEST:
                assert self.state.target is not None
                return e.ManifestRead(manifest(int(self.state.target.version[1:])))
            case e.Survey(entries, resumable):
                whole = {entry.path for entry in entries if self.whole.get(entry.path) == entry.sha256}
                kept = {path: here for path, (_, here) in self.disk.items() if path in resumable and here.spans}
                partial = {path: here.spans[-1][1] for path, here in kept.items()}
                return e.FilesSurveyed(frozenset(whole), partial, 2**40)
            case e.Reuse(entries, blocks):
                held = {entry.path: entry.sha256 for entry in entries if entry.path == "same.json" and not self.fails()}
                self.whole |= {} if blocks else held
                return e.FilesReused(frozenset() if blocks else frozenset(held))
            case e.Do.VERIFY:
                return e.BundleVerified({})
            case e.Do.SELF_TEST:
                return e.BundleTested(())
            case e.Do.ACTIVATE:
                assert self.state.target is not None
                new = u.ModelIdentity(self.state.target.version, self.state.target.manifest_sha256)
                if self.current != new:
                    self.previous, self.current = self.current, new
                return e.ModelSwitched(self.current, self.previous)
            case e.Do.ROLL_BACK:
                if self.previous.version:
                    self.current, self.previous = self.previous, u.ModelIdentity()
                return e.ModelSwitched(self.current, u.ModelIdentity())
        return None

    def sync(self, entry: FileEntry, *, complete: bool) -> e.UpdateEvent:
        progress = self.state.progress_of(entry)
        if progress.here.spans:
            self.disk[entry.path] = (progress.sha256, progress.here)
        if not complete:
            return e.FileSynced(entry.path)
        sha256, here = self.disk.pop(entry.path, (entry.sha256, Ranges()))
        right = sha256 == entry.sha256 and here.covers(0, entry.size_bytes) and not self.fails()
        if right:
            self.whole[entry.path] = entry.sha256
        return e.FileSynced(entry.path, whole=right)

    def restart(self) -> None:
        """The power goes: what was not saved is forgotten."""
        self.cuts += 1
        self.wants.clear()
        forgotten = {path: replace(file, unsynced=Ranges()) for path, file in self.saved.progress.items()}
        self.state = replace(
            self.saved,
            progress=forgotten,
            current=self.current,
            previous=self.previous,
            files=(),
            requests=(),
            timeouts=0,
            retry_at_s=None,
            checked_at_s=None,
        )
        self.put(e.AgentStarted())

    def serve(self) -> None:
        """Answer each want once, in any order, losing some blocks and repeating some."""
        wants, self.wants = self.wants, []
        blocks = [(want.sha256, span) for want in wants for span in Ranges.of(want.ranges).parts(want.block_bytes)]
        self.chance.shuffle(blocks)
        for sha256, (start, stop) in blocks:
            for _ in range(0 if self.fails() else 2 if self.fails() else 1):
                self.carried += stop - start
                self.put(e.BlockReceived(sha256, start, bytes(stop - start)))

    def live(self) -> None:
        for _ in range(2000):
            self.now_s += 3.0
            if self.state.phase == u.UpdatePhase.PROBATION:
                self.put(e.ModelLooked())
            if self.state.phase == u.UpdatePhase.IDLE and self.current.version == "m1":
                return
            if self.state.phase == u.UpdatePhase.IDLE:
                self.put(e.Offered(offer(1, 1)))
            if self.fails():
                self.restart()
            self.put(e.UpdateTick(may_switch=True))
            self.serve()
        raise AssertionError(f"never done: {self.state}")


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 12))
def test_whatever_is_lost_repeated_or_cut_the_offered_model_ends_in_use_or_is_denied_with_a_reason(
    seed: int, trouble: int
) -> None:
    world = SimulatedDevice(random.Random(seed), trouble)
    try:
        world.live()
    except AssertionError:
        assert world.state.denied, world.state
        assert world.current == OLD
        return
    assert world.current == u.ModelIdentity("m1", "10" * 32)
    assert world.state.problem is None


def test_without_trouble_each_byte_is_carried_once() -> None:
    world = SimulatedDevice(random.Random(1), 0)
    world.live()
    assert world.carried == 9_500 + 300
    assert world.previous == OLD


def test_a_restart_costs_at_most_a_window() -> None:
    for cut_after in range(1, 12):
        world = SimulatedDevice(random.Random(cut_after), 0)
        world.put(e.Offered(offer(1, 1)))
        for _ in range(cut_after):
            if world.wants:
                sha256, wanted = world.wants[0].sha256, Ranges.of(world.wants.pop(0).ranges)
                for start, stop in wanted.parts(1000):
                    world.carried += stop - start
                    world.put(e.BlockReceived(sha256, start, bytes(stop - start)))
        world.restart()
        world.live()
        assert world.carried <= 9_800 + SETTINGS.window_bytes
