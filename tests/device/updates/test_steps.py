"""Properties of the pure part: whatever comes in whatever order, the rules of device.updates.state hold."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from device.updates import events as e
from device.updates import state as u
from device.updates.machine import step
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
OLD = u.Identity("m0", "00" * 32)


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
REASONS = st.sampled_from(("", "it fails"))
EVENTS: st.SearchStrategy[e.Event] = st.one_of(
    st.builds(e.Started),
    st.builds(lambda n, r: e.Offered(offer(n, r)), NUMBERS, st.integers(0, 5)),
    st.builds(lambda n: e.Offered(offer(n, 0), u.LOCAL), NUMBERS),
    st.builds(e.OfferRefused, REASONS),
    st.builds(
        lambda sha, offset, size: e.BlockCame(sha, offset, bytes(size)),
        st.sampled_from(("a1" * 32, "a2" * 32, "bb" * 32, "10" * 32)),
        st.sampled_from((0, 100, 1000, 3000, 9000, 2**40)),
        st.sampled_from((0, 100, 300, 500, 700, 1000, 3000)),
    ),
    st.builds(e.Synced, st.sampled_from(PATHS)),
    st.builds(e.Checked, st.sampled_from(PATHS), st.booleans()),
    st.builds(lambda n: e.ManifestRead(manifest(n)), NUMBERS),
    st.just(e.ManifestRead(None, "too new")),
    st.builds(
        e.Surveyed,
        st.frozensets(st.sampled_from(PATHS)),
        st.dictionaries(st.sampled_from(PATHS), st.integers(0, 10_000)),
        st.frozensets(st.sampled_from(PATHS)),
        st.sampled_from((0, 10_000, 2**40)),
    ),
    st.builds(e.Copied, st.frozensets(st.sampled_from(PATHS))),
    st.builds(e.Verified, st.dictionaries(st.sampled_from(PATHS), st.just("altered"))),
    st.builds(lambda reason: e.Tested((reason,) if reason else ()), REASONS),
    st.builds(e.Tick, st.booleans()),
    st.builds(e.LinkChanged, st.booleans()),
    st.just(e.AskDropped()),
    st.builds(lambda n: e.Activated(u.Identity(f"m{n}", f"{n}0" * 32), OLD), NUMBERS),
    st.builds(e.NotActivated, REASONS),
    st.just(e.RolledBack(OLD)),
    st.just(e.LookOk()),
    st.builds(e.Failed, REASONS),
    st.builds(e.CurrentChecked, REASONS, st.booleans()),
    st.builds(e.DiskTrouble, REASONS),
)


def check_rules(before: u.State, event: e.Event, after: u.State, actions: list[e.Action]) -> None:
    kinds = [type(action) for action in actions]
    assert after.phase in u.PHASES
    assert sum(asked.size_bytes for asked in after.asked) <= SETTINGS.window_bytes
    assert len(after.asked) <= SETTINGS.wants_in_flight
    for path in PATHS:  # nothing is on the way twice, or although it is here
        ranges = [span for asked in after.asked if asked.path == path for span in asked.ranges]
        assert Ranges.of(ranges).total == sum(stop - start for start, stop in ranges)
    for action in actions:
        if isinstance(action, e.Ask):
            assert after.online
            assert after.phase in u.FETCHING
            assert len(action.want.ranges) > 0
            assert sum(-(-(b - a) // SETTINGS.block_bytes) for a, b in action.want.ranges) <= SETTINGS.blocks_per_want
        if isinstance(action, e.Activate):  # only after a self-test that passed
            assert after.phase == u.ACTIVATING
            assert before.phase in (u.READY, u.ACTIVATING)
            assert kinds[: kinds.index(e.Activate)].count(e.Save) == 1
    if e.RollBack in kinds and after.phase == u.ROLLING_BACK:
        assert kinds[:2] == [e.Save, e.SaveDenied]
        assert any(after.target and one.version == after.target.version for one in after.denied)
    if e.Announce in kinds:
        assert isinstance(event, e.Activated | e.RolledBack)
    if before.phase != u.ACTIVATING and after.phase == u.ACTIVATING:
        assert before.phase == u.READY
        assert isinstance(event, e.Tick | e.Verified)
        assert isinstance(event, e.Verified) or event.may_switch or not before.current.version
    if after.phase == u.ROLLING_BACK and before.phase == u.PROBATION:
        assert before.previous.version
    assert {one.manifest_sha256 for one in before.denied} <= {one.manifest_sha256 for one in after.denied}
    if after.phase in (u.MANIFEST, u.FILES) and before.phase == u.IDLE and after.origin == u.LINK:
        assert after.target is not None
        assert u.is_denied(before, after.target) is None
    known, now = before.offered, after.offered
    assert known is None or (now is not None and now.revision >= known.revision)


@given(st.lists(EVENTS, max_size=40))
def test_no_sequence_of_events_breaks_a_rule(events: list[e.Event]) -> None:
    state, now_s = u.State(current=OLD), 0.0
    for event in events:
        now_s += 7.0
        after, actions = step(state, event, now_s, SETTINGS)
        check_rules(state, event, after, actions)
        state = after


@given(EVENTS, st.sampled_from(u.PHASES))
def test_every_phase_takes_every_event(event: e.Event, phase: str) -> None:
    files = manifest(1).files if phase == u.FILES else ()
    state = u.State(phase=phase, target=offer(1, 1), offered=offer(1, 1), current=OLD, files=files)
    after, _ = step(state, event, 1.0, SETTINGS)
    assert after.phase in u.PHASES


# --- models that may not guide (any more) ---

BARRED = st.sampled_from(("", "it is on trial"))
SLOTS = st.builds(lambda why: replace(OLD, barred=why), BARRED)
BEFORE = st.builds(lambda version, why: u.Identity(version, "11" * 32, why), st.sampled_from(("", "m9")), BARRED)
CHECKS = st.builds(
    lambda problem, current, previous: e.TrustChecked(problem, current=current, previous=previous),
    st.sampled_from(("", "it is not signed")), SLOTS, BEFORE,
)  # fmt: skip


@given(CHECKS, SLOTS, BEFORE, st.booleans())
def test_newer_metadata_that_bar_the_model_in_use_take_it_out_of_use_at_once(
    event: e.TrustChecked, current: u.Identity, previous: u.Identity, recalled: bool
) -> None:
    wanted = replace(offer(1, 1), metadata=(MetadataFile("timestamp.json", 1, "ee" * 32),))
    if recalled:  # the model in use is offered once more, under metadata that may say otherwise now
        wanted = replace(wanted, version=OLD.version, manifest_sha256=OLD.manifest_sha256)
    state = u.State(phase=u.METADATA, target=wanted, offered=wanted, current=current, previous=previous)
    after, actions = step(state, event, 1.0, SETTINGS)
    assert event.current is not None
    assert event.previous is not None
    assert after.current == event.current
    kinds = [type(action) for action in actions]
    back = bool(event.current.barred and event.previous.version and not event.previous.barred)
    assert (e.RollBack in kinds) == back
    changed = bool(event.current.barred) != bool(current.barred)
    assert (e.Announce in kinds) == (changed and not back)
    assert after.denied == ()
    if event.current.barred and event.problem and recalled:
        assert after.problem.startswith("withdrawn: m0")
        assert after.proven is None


@given(st.sampled_from(u.PHASES), BEFORE)
def test_a_start_with_a_barred_model_never_waits_for_looks_that_do_not_come(phase: str, previous: u.Identity) -> None:
    barred = replace(OLD, barred="it is on trial")
    state = u.State(phase=phase, target=offer(1, 1), offered=offer(1, 1), current=barred, previous=previous)
    after, actions = step(state, e.Started(), 1.0, SETTINGS)
    if phase in (u.ACTIVATING, u.ROLLING_BACK):  # a switch under way is finished first
        return
    assert after.phase != u.PROBATION
    assert type(actions[0]) is (e.RollBack if previous.version and not previous.barred else e.Announce)
    assert after.denied == ()


@given(BEFORE)
def test_a_model_that_is_barred_the_moment_it_is_switched_to_gives_way(previous: u.Identity) -> None:
    state = u.State(phase=u.ACTIVATING, target=offer(1, 1), offered=offer(1, 1), current=OLD)
    new = u.Identity("m1", "10" * 32, "it is on trial")
    after, actions = step(state, e.Activated(new, previous), 1.0, SETTINGS)
    assert (after.phase, after.current) == (u.IDLE, new)
    assert type(actions[-1]) is (e.RollBack if previous.version and not previous.barred else e.Announce)


# --- with a disk and a server that lose and repeat, but not for ever ---


@dataclass
class World:
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
    current: u.Identity = OLD
    previous: u.Identity = field(default_factory=u.Identity)
    carried: int = 0
    cuts: int = 0

    def fails(self) -> bool:
        if self.trouble > 0 and self.chance.random() < 0.15:
            self.trouble -= 1
            return True
        return False

    def put(self, event: e.Event) -> None:
        events = [event]
        while events:
            event = events.pop(0)
            before = self.state
            self.state, actions = step(before, event, self.now_s, SETTINGS)
            check_rules(before, event, self.state, actions)
            for action in actions:
                if self.fails():
                    events.append(e.DiskTrouble("the update waits: I/O error"))
                    break
                found = self.do(action)
                if found is not None:
                    events.append(found)

    def do(self, action: Any) -> e.Event | None:
        match action:
            case e.Save():
                self.saved = self.state
            case e.Ask(want):
                if self.fails():
                    return e.AskDropped()
                self.wants.append(want)
            case e.Sync(path):
                progress = self.state.progress[path]
                self.disk[path] = (progress.sha256, progress.have.union(progress.fresh))
                return e.Synced(path)
            case e.Check(entry):
                sha256, here = self.disk.pop(entry.path, (entry.sha256, Ranges()))
                ok = sha256 == entry.sha256 and here.covers(0, entry.size_bytes) and not self.fails()
                if ok:
                    self.whole[entry.path] = entry.sha256
                return e.Checked(entry.path, ok)
            case e.ReadManifest():
                assert self.state.target is not None
                return e.ManifestRead(manifest(int(self.state.target.version[1:])))
            case e.Survey(entries, resumable):
                whole = {entry.path for entry in entries if self.whole.get(entry.path) == entry.sha256}
                kept = {path: here for path, (_, here) in self.disk.items() if path in resumable and here.spans}
                partial = {path: here.spans[-1][1] for path, here in kept.items()}
                return e.Surveyed(frozenset(whole), partial, frozenset({"same.json"}), 2**40)
            case e.Copy(entries):
                copied = {entry.path: entry.sha256 for entry in entries if not self.fails()}
                self.whole |= copied
                return e.Copied(frozenset(copied))
            case e.Verify():
                return e.Verified({})
            case e.SelfTest():
                return e.Tested(())
            case e.Activate(manifest_sha256):
                assert self.state.target is not None
                if self.current.manifest_sha256 != manifest_sha256:
                    self.previous, self.current = self.current, u.Identity(self.state.target.version, manifest_sha256)
                return e.Activated(self.current, self.previous)
            case e.RollBack():
                if self.previous.version:
                    self.current, self.previous = self.previous, u.Identity()
                return e.RolledBack(self.current)
        return None

    def restart(self) -> None:
        """The power goes: what was not saved is forgotten."""
        self.cuts += 1
        self.wants.clear()
        forgotten = {path: replace(one, fresh=Ranges()) for path, one in self.saved.progress.items()}
        self.state = replace(
            self.saved,
            progress=forgotten,
            current=self.current,
            previous=self.previous,
            files=(),
            asked=(),
            silent=0,
            retry_at_s=None,
            checked_at_s=None,
        )
        self.put(e.Started())

    def serve(self) -> None:
        """Answer each want once, in any order, losing some blocks and repeating some."""
        wants, self.wants = self.wants, []
        blocks = [(want.sha256, span) for want in wants for span in Ranges.of(want.ranges).parts(want.block_bytes)]
        self.chance.shuffle(blocks)
        for sha256, (start, stop) in blocks:
            for _ in range(0 if self.fails() else 2 if self.fails() else 1):
                self.carried += stop - start
                self.put(e.BlockCame(sha256, start, bytes(stop - start)))

    def live(self) -> None:
        for _ in range(2000):
            self.now_s += 3.0
            if self.state.phase == u.PROBATION:
                self.put(e.LookOk())
            if self.state.phase == u.IDLE and self.current.version == "m1":
                return
            if self.state.phase == u.IDLE:
                self.put(e.Offered(offer(1, 1)))
            if self.fails():
                self.restart()
            self.put(e.Tick(may_switch=True))
            self.serve()
        raise AssertionError(f"never done: {self.state}")


@given(st.integers(0, 2**32), st.integers(0, 12))
def test_whatever_is_lost_repeated_or_cut_the_offered_model_ends_in_use_or_is_denied_with_a_reason(
    seed: int, trouble: int
) -> None:
    world = World(random.Random(seed), trouble)
    try:
        world.live()
    except AssertionError:
        assert world.state.denied, world.state
        assert world.current == OLD
        return
    assert world.current == u.Identity("m1", "10" * 32)
    assert world.state.problem == ""


def test_without_trouble_each_byte_is_carried_once() -> None:
    world = World(random.Random(1), 0)
    world.live()
    assert world.carried == 9_500 + 300
    assert world.previous == OLD


def test_a_restart_costs_at_most_a_window() -> None:
    for cut_after in range(1, 12):
        world = World(random.Random(cut_after), 0)
        world.put(e.Offered(offer(1, 1)))
        for _ in range(cut_after):
            if world.wants:
                sha256, wanted = world.wants[0].sha256, Ranges.of(world.wants.pop(0).ranges)
                for start, stop in wanted.parts(1000):
                    world.carried += stop - start
                    world.put(e.BlockCame(sha256, start, bytes(stop - start)))
        world.restart()
        world.live()
        assert world.carried <= 9_800 + SETTINGS.window_bytes
