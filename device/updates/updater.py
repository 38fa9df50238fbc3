"""Model updates on the device: fetch, check, test, switch, prove, or take back.

The server's retained offer names a model by the hash of its manifest. The device pulls its files in blocks, checks
every hash, runs the self-test, switches between two slots in one atomic step and watches the first looks. The rules are
in `device.updates.state`, the decisions in `device.updates.machine`, the folders in `device.updates.slots`; here they
meet disk and link.

Promises: the power may go at any moment, and afterwards `current_slot` still names a whole model and the update goes on
where it was; what was fetched is not fetched again, except for one window (512 KiB). A model whose bytes are not
exactly those of its manifest is never put in use.

Threads: `on_offer`, `on_block`, `link_changed` and the reports only leave a note and may be called from anywhere.
`tick` does the work, which can take seconds (hashing, self-test): give it a thread of its own with `run`.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import queue
import shutil
import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from device.updates import events as e
from device.updates import state as u
from device.updates.machine import step
from device.updates.offer import Proof, read_offer
from device.updates.operator_requests import take
from device.updates.slots import (
    Checkpoint,
    Slots,
    current_slot,
    holders,
    identity,
    lock,
    previous_slot,
    problem_of,
    wrong_files,
)
from device.updates.staging import Incoming
from device.updates.state_file import load_denied, load_state, save_denied, save_state
from shared import atomic, bundle, messages, topics
from shared.clock import Clock
from shared.errors import BundleError, Transient, WaycueError
from shared.messages import Offer
from shared.transfer import Ranges

__all__ = ["Report", "Settings", "Updater", "current_slot", "previous_slot"]

Report = u.Report
Settings = u.Settings
INBOX_EVENTS = 256
INBOX_BLOCKS = 64  # eight windows; a server that sends more than was asked for fills no memory
POLL_S = 0.5
_log = logging.getLogger(__name__)


class Updater:
    """One per state folder: a second one is refused. Call `close` (or let the process end) to give the folder free.

    publish(topic, payload): sends, or returns False where the link is down.
    selftest(folder): runs a bundle's golden chunks; returns what is wrong, [] = fit for use.
    on_activated(folder, version): the model to use from now on; called from `tick`'s thread, also after a roll-back.
    may_switch(): whether now is a good moment, such as standing still.
    check_offer(offer): raises WaycueError for an offer that is not to be followed.
    check_manifest(manifest): raises WaycueError for a model that this device may not run. Asked before its files are
    fetched; the version is refused each time it is offered, but not denied for ever.
    trust: what proves an offer by its signed metadata. With it, an offer without is refused; None only where the device
    has no identity yet, which may only speak to a broker on its own machine: metadata are then not looked at.
    tell(text): lets the wearer know that an update waits.
    barred(folder): why the model in a slot may not guide, "" = it may; raises a Transient where it cannot be told now.
    Asked at the start, after each switch, and when an offer's metadata were verified.
    on_barred(version, reason): the model in use may not guide, and there is no other: use none from now on.
    raises: ConfigError where another process has the folder, OSError.
    """

    def __init__(
        self,
        state_dir: Path,
        publish: Callable[[str, bytes], bool | None],
        *,
        device: str,
        clock: Clock,
        selftest: Callable[[Path], list[str]],
        on_activated: Callable[[Path, str], None],
        may_switch: Callable[[], bool] = lambda: True,
        check_offer: Callable[[Offer], None] = lambda offer: None,
        check_manifest: Callable[[bundle.Manifest], None] = lambda manifest: None,
        trust: Proof | None = None,
        tell: Callable[[str], None] = lambda text: None,
        barred: Callable[[Path], str] = lambda folder: "",
        on_barred: Callable[[str, str], None] = lambda version, reason: None,
        settings: u.Settings | None = None,
        at: Checkpoint = lambda name: None,
    ) -> None:
        self._device, self._trust, self._tell = device, trust, tell
        self._topic = topics.want(device)
        self._publish, self._clock, self._selftest, self._on_activated = publish, clock, selftest, on_activated
        self._check_offer, self._check_manifest = check_offer, check_manifest
        self._may_switch, self._at = may_switch, at
        self._barred, self._on_barred = barred, on_barred
        self._settings = settings or u.Settings()
        atomic.make_dirs(state_dir / "models")
        self._lock_file = lock(state_dir / "models" / ".lock")
        self._slots = Slots(state_dir, at)
        self._inbox: queue.Queue[e.Event] = queue.Queue()
        self._working = threading.RLock()
        self._local: Path | None = None
        self._incoming = Incoming(self._slots, at)
        self._began_s = clock.monotonic_s()
        self._bytes_before: Counter[str] = Counter()
        self.counters: Counter[str] = Counter()
        """fetched_bytes, repeated_bytes (came again or unasked), copied_bytes, wrong_blocks, refused (messages that are
        not ours), distrusted (offers that their metadata did not prove)."""
        self.reports: tuple[Report, ...] = ()
        self._state = replace(
            u.as_trusted(load_state(self._slots.models), signed=trust is not None),
            denied=load_denied(self._slots.models),
            current=self._identity(self._slots.current),
            previous=self._identity(self._slots.previous),
        )
        self._started = False

    def start(self) -> None:
        """Finish a switch that was interrupted, and take a model back that never got through its probation: call it
        before the model is loaded. Quick; it may call on_activated. Repeated calls do nothing."""
        with self._working:
            if not self._started:
                self._started = True
                self._handle(e.Started())

    # --- called from other threads: leave a note, do nothing else ---

    def on_offer(self, payload: bytes) -> None:
        """The retained offer of this device came. An empty one (taken back) changes nothing."""
        if not payload:
            return
        try:
            offer = read_offer(payload, signed=self._trust is not None)
            self._check_offer(offer)
        except WaycueError as error:
            self.counters["refused"] += 1
            _log.warning("An offer of a model was refused: %s", error)
            self._note_down(e.OfferRefused(f"an offer was refused: {error}"))
            return
        self._note_down(e.Offered(offer))

    def _note_down(self, event: e.Event) -> None:
        """Offers are few; where hundreds wait to be handled, somebody floods the device."""
        if self._inbox.qsize() < INBOX_EVENTS:
            self._inbox.put(event)
        else:
            self.counters["refused"] += 1

    def on_block(self, levels: list[str], payload: bytes) -> None:
        """A block came. levels: ["block", sha256, offset]"""
        offset = topics.parse_offset(levels[2]) if len(levels) == 3 and levels[0] == "block" else None
        if offset is None or not topics.SHA256.match(levels[1]) or self._inbox.qsize() >= INBOX_BLOCKS:
            self.counters["refused"] += 1
            return
        self._inbox.put(e.BlockCame(levels[1], offset, payload))

    def link_changed(self, online: bool) -> None:
        """The link came up or went down. Optional: without it, requests are repeated after their time-out."""
        self._inbox.put(e.LinkChanged(online))

    def report_look_ok(self, version: str = "") -> None:
        """A look went well. version: of the model that looked; one that is no longer in use does not count."""
        if version in ("", self._state.current.version) and self._state.phase == u.PROBATION:
            self._inbox.put(e.LookOk())

    def report_failure(self, reason: str, version: str = "") -> None:
        """The model in use could not be loaded, or a look failed. On probation it gives way to the one before it;
        later it does so only where its files turn out to be damaged. version: as in `report_look_ok`."""
        if version in ("", self._state.current.version):
            self._inbox.put(e.Failed(reason))

    # --- the work ---

    def run(self, stop: threading.Event) -> None:
        """`tick` until `stop` is set: at once when something came, else twice a second."""
        self.start()
        while not stop.is_set():
            try:
                event = self._inbox.get(timeout=POLL_S)
            except queue.Empty:
                pass
            else:
                with self._working:
                    self._handle(event)
            self.tick()

    def tick(self) -> None:
        """Handle what came since the last call, then what time brings."""
        self.start()
        with self._working:
            wish = take(self._slots.models)
            if wish is not None:
                self._handle(wish)
            while True:
                try:
                    event = self._inbox.get_nowait()
                except queue.Empty:
                    break
                self._handle(event)
            self._handle(e.Tick(self._may_switch()))

    def obey(self, wish: e.Event) -> None:
        """Do what a person asked for, and nothing else that may be due."""
        with self._working:
            self._handle(wish)

    def install_local(self, folder: Path) -> str:
        """Install a bundle from a folder on this device with the same checks, and put it in use at once.

        Returns its version. Raises: BundleError naming what is wrong; the model in use then stays.
        """
        self.start()
        manifest = bundle.verify(folder)
        data = bundle.read_manifest_bytes(folder)
        digest = hashlib.sha256(data).hexdigest()
        with self._working:
            if self._state.current.manifest_sha256 == digest:
                return manifest.version
            if self._state.phase in (u.ACTIVATING, u.ROLLING_BACK):
                raise BundleError("A model is being switched right now.", hint="Try again in a minute.")
            offer = Offer(manifest.version, digest, len(data), self._clock.utc_s())
            denied = u.is_denied(self._state, offer)
            if denied is not None:
                raise BundleError(f"{denied.version} was refused before: {denied.reason}.", hint="Install another one.")
            self._local = folder
            self._handle(e.Offered(offer, u.LOCAL))
            self._handle(e.Tick(may_switch=True))
            if self._state.current.manifest_sha256 != digest:
                raise BundleError(f"{manifest.version} was not installed: {self._state.problem}.")
        return manifest.version

    def state_text(self) -> str:
        """For the status, e.g. idle, downloading V 43 %, verifying V, ready V, probation V 3/20, refused: V: why."""
        return self._text()[:500]  # the status is one small retained message

    def _text(self) -> str:
        state = self._state
        name = state.target.version if state.target is not None else ""
        trouble = f" ({state.problem})" if state.problem else ""
        match state.phase:
            case u.METADATA:
                return f"checking the offer of {name}{trouble}"
            case u.MANIFEST | u.FILES:
                share = 100 - 100 * u.unfetched(state) // max(state.size_bytes, 1) if state.phase == u.FILES else 0
                return f"downloading {name} {share} %{trouble}"
            case u.PROBATION:
                return f"probation {name} {state.looks}/{self._settings.probation_looks}"
            case u.IDLE:
                return state.problem or "idle"
            case phase:
                return f"{phase.replace('_', ' ')} {name}{trouble}"

    @property
    def current_version(self) -> str:
        """Of the model in the current slot; "" = none, "damaged" = its manifest cannot be read."""
        return self._state.current.version

    @property
    def current_barred(self) -> str:
        """Why the model in the current slot may not guide, "" = it may."""
        return self._state.current.barred

    @property
    def phase(self) -> str:
        """One of device.updates.state.PHASES."""
        return self._state.phase

    def close(self) -> None:
        """Give the folder free. What is under way goes on at the next start."""
        with self._working:
            self._incoming.close()
            self._lock_file.close()

    def _handle(self, first: e.Event) -> None:
        events = deque([first])
        while events:
            event = events.popleft()
            before = self._state.phase
            self._state, actions = step(self._state, event, self._clock.monotonic_s(), self._settings)
            self._note(event, before, len(actions))
            for action in actions:
                try:
                    found = self._do(action)
                except OSError as error:
                    _log.warning("The update waits: %s", error)
                    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
                    what = "the disk is full; make room on it" if full else error.strerror or str(error)
                    events.append(e.DiskTrouble(f"the update waits: {what}"))
                    break
                if found is not None:
                    events.append(found)

    def _note(self, event: e.Event, before: str, actions: int) -> None:
        if isinstance(event, e.BlockCame):
            self.counters["fetched_bytes" if actions else "repeated_bytes"] += len(event.data)
        if self._state.phase == before:
            return
        if before == u.IDLE:
            self._began_s, self._bytes_before = self._clock.monotonic_s(), self.counters.copy()
        _log.info("Model update: %s", self.state_text())

    def _do(self, action: e.Action) -> e.Event | None:
        match action:
            case e.Save():
                self._at(f"before saving {self._state.phase}")
                save_state(self._slots.models, self._state)
                self._at(f"saved {self._state.phase}")
            case e.SaveDenied():
                save_denied(self._slots.models, self._state.denied)
                self._at("deny list saved")
            case e.Ask(want):
                return None if self._publish(self._topic, messages.encode(want)) is not False else e.AskDropped()
            case e.Write(path, offset, data):
                self._incoming.write(path, offset, data)
                self._at("block written")
            case e.Sync(path):
                return self._sync(path)
            case e.ClearIncoming():
                self._incoming.close()
                self._slots.clear_incoming()
            case e.Announce():
                self._announce()
            case e.Tell(text):
                self._tell(text)
            case _:
                return self._check(action)
        return None

    def _check(self, action: e.Action) -> e.Event | None:
        """The actions that find something out."""
        match action:
            case e.Check(entry):
                return e.Checked(entry.path, self._incoming.accept(entry))
            case e.CheckTrust(offer):
                return self._check_trust(offer)
            case e.Reuse(entries):
                return self._reuse(entries)
            case e.ReadManifest():
                return self._read_manifest()
            case e.Survey(entries, resumable, prune):
                return self._survey(entries, resumable, prune=prune)
            case e.Copy(entries):
                return self._copy(entries)
            case e.Verify():
                return e.Verified(self._verify())
            case e.SelfTest():
                return e.Tested(self._test())
            case e.Activate(manifest_sha256):
                return self._activate(manifest_sha256)
            case e.RollBack():
                self._slots.roll_back()
                return e.RolledBack(self._identity(self._slots.current, self._state.previous))
            case e.CheckCurrent():
                return self._check_current()
        return None

    def _identity(self, folder: Path | None, known: u.Identity | None = None) -> u.Identity:
        """known: what was known of it before; it stays so where it cannot be told whether a model may guide."""
        found = identity(folder)
        if folder is None:
            return found
        try:
            return replace(found, barred=self._barred(folder))
        except Transient as error:
            same = known is not None and known.manifest_sha256 == found.manifest_sha256
            return replace(found, barred=known.barred if known is not None and same else str(error))

    # --- files ---

    def _sync(self, path: str) -> e.Event:
        self._incoming.sync(path)
        entry = next((entry for entry in self._state.files if entry.path == path), None)
        bad = Ranges()
        if entry is not None:
            bad = self._incoming.wrong_blocks(entry, u.progress_of(self._state, entry))
            self.counters["wrong_blocks"] += len(bad.spans)
        self._at("blocks synced")
        return e.Synced(path, bad)

    def _reuse(self, entries: tuple[bundle.FileEntry, ...]) -> e.Event:
        found = self._incoming.reuse(entries, self._state.progress, self._sources())
        self.counters["copied_bytes"] += sum(ranges.total for ranges in found.values())
        return e.Reused(found)

    def _check_trust(self, offer: Offer) -> e.Event:
        if self._trust is None:  # begun while this device was enrolled; nothing is ever proven by nobody
            return e.TrustChecked("this device is not enrolled any more", passing=True)
        files = {one.name: self._slots.incoming / u.METADATA_FOLDER / one.name for one in offer.metadata}
        try:
            self._trust.check({name: path.read_bytes() for name, path in files.items()}, offer, self._device)
        except WaycueError as error:
            self.counters["distrusted"] += 1
            _log.warning("The offer of %s is not followed: %s", offer.version, error)
            if isinstance(error, Transient):
                return e.TrustChecked(str(error), passing=True)
            return e.TrustChecked(str(error), current=self._current(), previous=self._previous())
        self._at("trust checked")
        return e.TrustChecked(current=self._current(), previous=self._previous())

    def _current(self) -> u.Identity:
        return self._identity(self._slots.current, self._state.current)

    def _previous(self) -> u.Identity:
        return self._identity(self._slots.previous, self._state.previous)

    def _survey(self, entries: tuple[bundle.FileEntry, ...], resumable: frozenset[str], *, prune: bool) -> e.Event:
        self._incoming.close()
        whole, partial = self._slots.survey(entries, resumable, prune=prune)
        known = holders(self._sources())
        elsewhere = frozenset(entry.path for entry in entries if entry.sha256 in known)
        free_bytes = shutil.disk_usage(self._slots.models).free
        self._at("surveyed")
        return e.Surveyed(frozenset(whole), partial, elsewhere, free_bytes)

    def _copy(self, entries: tuple[bundle.FileEntry, ...]) -> e.Event:
        known = holders(self._sources())
        copied = set()
        for entry in entries:
            if self._slots.copy(entry, known.get(entry.sha256, [])):
                self.counters["copied_bytes"] += entry.size_bytes
                copied.add(entry.path)
                self._at("file copied")
        return e.Copied(frozenset(copied))

    def _sources(self) -> list[Path]:
        local = [self._local] if self._local is not None and self._state.origin == u.LOCAL else []
        return [*local, *(self._slots.models / name for name in ("a", "b"))]

    def _read_manifest(self) -> e.Event:
        try:
            manifest = bundle.read_manifest(self._slots.incoming)
            self._check_manifest(manifest)
            return e.ManifestRead(manifest)
        except WaycueError as error:
            return e.ManifestRead(None, str(error))

    def _verify(self) -> dict[str, str]:
        """What is wrong with the incoming bundle, by path."""
        try:
            self._check_manifest(bundle.verify(self._slots.incoming))  # settings may be others since it was fetched
        except WaycueError as error:
            reason = str(error)
        else:
            return {}
        return wrong_files(self._slots.incoming) or {bundle.MANIFEST_NAME: reason}

    def _test(self) -> tuple[str, ...]:
        self._at("self-test starts")
        try:
            return tuple(self._selftest(self._slots.incoming))
        except WaycueError as error:
            return (str(error),)
        except Exception as error:  # noqa: BLE001 (a model that breaks the runtime is refused, not a reason to stop)
            _log.warning("The self-test of the new model broke off.", exc_info=True)
            return (f"it broke off: {error!r}",)

    # --- switching ---

    def _activate(self, manifest_sha256: str) -> e.Event:
        self._incoming.close()
        try:
            self._slots.activate(manifest_sha256)
        except BundleError as error:
            return e.NotActivated(str(error))
        return e.Activated(self._identity(self._slots.current), self._identity(self._slots.previous))

    def _announce(self) -> None:
        folder = self._slots.current
        if folder is None:
            return
        now = self._state.current.version
        if self._state.current.barred:
            _log.error("Model %s is not used: %s", now, self._state.current.barred)
            self._on_barred(now, self._state.current.barred)
            return
        if self._state.phase == u.PROBATION:
            gained = self.counters - self._bytes_before
            before = self._state.previous.version
            seconds = self._clock.monotonic_s() - self._began_s
            report = Report(before, now, gained["fetched_bytes"], gained["copied_bytes"], seconds)
            self.reports = (*self.reports, report)
        _log.info("Model %s is in use.", now)
        self._on_activated(folder, now)

    def _check_current(self) -> e.Event:
        problem = problem_of(self._slots.current)
        previous = self._slots.previous
        fit = not problem_of(previous) and not self._previous().barred
        return e.CurrentChecked(problem, previous_ok=bool(problem) and fit)
