"""Carries out what `device.updates.machine` decided about an update: on the disk, over the link, in the agent."""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import assert_never

from device.updates import events as e
from device.updates.base_files import BaseFiles
from device.updates.permission import Permission
from device.updates.slots import ModelSlots, identity
from device.updates.staging import Staging
from device.updates.state import METADATA_FOLDER, ModelIdentity, State
from device.updates.state_file import load_denied, save_denied, save_state
from shared import atomic, bundle, messages, topics
from shared.bundle import FileEntry
from shared.clock import Clock
from shared.errors import BundleError, Transient, WaycueError
from shared.transfer import Ranges

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdaterPorts:
    """What an updater needs of the agent around it. All but `publish` is called from the thread of `Updater.tick`."""

    clock: Clock
    publish: Callable[[str, bytes], bool | None]  # send (topic, payload); False where the link is down
    selftest: Callable[[Path], list[str]]  # run a bundle's golden chunks; what is wrong, [] = fit for use
    use_model: Callable[[Path, str], None]
    """The folder and version of the model to guide with from now on, also after a roll-back."""
    use_no_model: Callable[[str, str], None] = lambda version, reason: None
    """The model in use may not guide, and there is no other."""
    may_switch: Callable[[], bool] = lambda: True  # whether now is a good moment, such as standing still
    announce: Callable[[str], None] = lambda text: None  # say to the wearer that an update waits


class Executor:
    """The actions of an update. One thread."""

    def __init__(
        self, slots: ModelSlots, ports: UpdaterPorts, permission: Permission, crash_point: atomic.Step
    ) -> None:
        self._slots, self._ports, self._permission, self._crash_point = slots, ports, permission, crash_point
        self._staging = Staging(slots.incoming, BaseFiles(slots.bases, crash_point), crash_point)
        self._saved_denied = load_denied(slots.models)
        self.counters: Counter[str] = Counter()

    def close(self) -> None:
        """Close every file."""
        self._staging.close()

    def do(self, action: e.UpdateAction, state: State) -> e.UpdateEvent | None:
        """Carry out one action of a state; what it found. Raises: OSError."""
        match action:
            case e.Do.SAVE:
                self._save(state)
            case e.Do.CLEAR_STAGING:
                self._staging.clear()
            case e.Announce(text):
                self._ports.announce(text)
            case e.Do.USE_CURRENT:
                self._use_current(state)
            case e.Ask(want):
                sent = self._ports.publish(topics.want(self._permission.device), messages.encode(want))
                return e.ActionFailed(None) if sent is False else None
            case e.Do.CHECK_TRUST:
                return self._check_trust(state)
            case e.Do.READ_MANIFEST:
                return self._read_manifest()
            case e.Do.VERIFY:
                return e.BundleVerified(self._damaged())
            case e.Do.SELF_TEST:
                return e.BundleTested(self._test())
            case e.Do.ACTIVATE:
                return self._activate(state)
            case e.Do.ROLL_BACK:
                self._slots.roll_back()
                return e.ModelSwitched(self.identity(self._slots.current, state.previous), ModelIdentity())
            case e.Do.CHECK_CURRENT:
                return self._check_current(state)
            case _:
                return self._fetch(action, state)
        return None

    def _fetch(
        self, action: e.Survey | e.Reuse | e.Assemble | e.WriteBlock | e.SyncFile, state: State
    ) -> e.UpdateEvent | None:
        """The actions that bring files into the staging folder."""
        match action:
            case e.WriteBlock(path, offset, data):
                self._staging.write(path, offset, data)
                self._crash_point("block written")
                return None
            case e.SyncFile(entry, complete):
                return self._sync(entry, state, complete=complete)
            case e.Survey(entries, resumable, prune):
                whole, partial = self._staging.survey(entries, resumable, prune=prune)
                return e.FilesSurveyed(whole, partial, shutil.disk_usage(self._slots.models).free)
            case e.Reuse(entries, blocks):
                return self._reuse(entries, state, blocks=blocks)
            case e.Assemble(entries):
                made = self._staging.assemble(entries, self._slots.folders)
                self.counters["copied_bytes"] += sum(entry.size_bytes for entry in made)
                return e.FilesReused(frozenset(entry.path for entry in made))
            case _:
                assert_never(action)

    def identity(self, folder: Path | None, known: ModelIdentity | None = None) -> ModelIdentity:
        """The model in a slot, and whether it may guide. known: the answer of before, which stays where that cannot be
        decided now."""
        model = identity(folder)
        if folder is None:
            return model
        try:
            return replace(model, barred=self._permission.barred(folder))
        except Transient as error:
            same = known is not None and known.manifest_sha256 == model.manifest_sha256
            return replace(model, barred=known.barred if known is not None and same else str(error))

    def _save(self, state: State) -> None:
        self._crash_point(f"before saving {state.phase}")
        if state.denied != self._saved_denied:
            save_denied(self._slots.models, state.denied)
            self._saved_denied = state.denied
            self._crash_point("deny list saved")
        save_state(self._slots.models, state)
        self._crash_point(f"saved {state.phase}")

    # --- files ---

    def _sync(self, entry: FileEntry, state: State, *, complete: bool) -> e.UpdateEvent:
        self._staging.sync(entry.path)
        bad = self._staging.wrong_blocks(entry, state.progress_of(entry))
        self.counters["wrong_blocks"] += len(bad.spans)
        self._crash_point("blocks synced")
        whole = self._staging.accept(entry) if complete and not bad.spans else None
        return e.FileSynced(entry.path, bad, whole)

    def _reuse(self, entries: tuple[FileEntry, ...], state: State, *, blocks: bool) -> e.UpdateEvent:
        files: list[FileEntry] = []
        ranges: dict[str, Ranges] = {}
        if blocks:
            ranges = self._staging.copy_blocks(entries, state.progress, self._slots.folders)
        else:
            files = self._staging.copy(entries, self._slots.folders)
        self.counters["copied_bytes"] += sum(entry.size_bytes for entry in files)
        self.counters["copied_bytes"] += sum(copied.total for copied in ranges.values())
        return e.FilesReused(frozenset(entry.path for entry in files), ranges)

    # --- checks ---

    def _check_trust(self, state: State) -> e.UpdateEvent:
        proof, offer = self._permission.proof, state.target
        assert offer is not None
        if proof is None:  # begun while this device was enrolled
            return e.TrustChecked("this device is not enrolled any more", transient=True)
        folder = self._slots.incoming / METADATA_FOLDER
        problem = None
        try:
            files = {file.name: (folder / file.name).read_bytes() for file in offer.metadata}
            proof.check(files, offer, self._permission.device)
        except WaycueError as error:
            self.counters["distrusted"] += 1
            logger.warning("The offer of %s is not followed: %s", offer.version, error)
            problem = str(error)
            if isinstance(error, Transient):
                return e.TrustChecked(problem, transient=True)
        else:
            self._crash_point("trust checked")
        current = self.identity(self._slots.current, state.current)
        return e.TrustChecked(problem, current=current, previous=self.identity(self._slots.previous, state.previous))

    def _read_manifest(self) -> e.UpdateEvent:
        try:
            manifest = bundle.read_manifest(self._slots.incoming)
            self._permission.check_new(manifest)
            return e.ManifestRead(manifest)
        except WaycueError as error:
            return e.ManifestRead(None, str(error))

    def _damaged(self) -> dict[str, str]:
        """What is wrong with the fetched bundle, by path."""
        folder = self._slots.incoming
        try:
            manifest = bundle.read_manifest(folder)
            self._permission.check_new(manifest)  # settings may be others since it was fetched
            return {path: str(error) for path, error in bundle.problems(folder, manifest)}
        except WaycueError as error:
            return {bundle.MANIFEST_NAME: str(error)}

    def _test(self) -> tuple[str, ...]:
        self._crash_point("self-test starts")
        try:
            return tuple(self._ports.selftest(self._slots.incoming))
        except WaycueError as error:
            return (str(error),)
        except Exception as error:
            logger.warning("The self-test of the new model broke off.", exc_info=True)
            return (f"it broke off: {error!r}",)

    def _check_current(self, state: State) -> e.UpdateEvent:
        problem, previous = _problem_of(self._slots.current), self._slots.previous
        barred = self.identity(previous, state.previous).barred
        fit = problem is not None and barred is None and _problem_of(previous) is None
        return e.CurrentChecked(problem, previous_fit=fit)

    # --- switching ---

    def _activate(self, state: State) -> e.UpdateEvent:
        assert state.target is not None
        self._staging.close()
        problem = None
        try:
            self._slots.activate(state.target.manifest_sha256)
        except BundleError as error:
            problem = str(error)
        return e.ModelSwitched(self.identity(self._slots.current), self.identity(self._slots.previous), problem)

    def _use_current(self, state: State) -> None:
        folder, current = self._slots.current, state.current
        if folder is None or current.version is None:
            return
        if current.barred is not None:
            logger.error("Model %s is not used: %s", current.version, current.barred)
            self._ports.use_no_model(current.version, current.barred)
            return
        logger.info("Model %s is in use.", current.version)
        self._ports.use_model(folder, current.version)


def _problem_of(folder: Path | None) -> str | None:
    """Why the bundle in a folder cannot be used, None: it is whole."""
    if folder is None:
        return "there is no model"
    try:
        bundle.verify(folder)
    except BundleError as error:
        return str(error)
    return None
