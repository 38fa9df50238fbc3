"""Which model guides: loading it, following the server's offers, and never guiding a walk with a demonstration model.

Promises: a model that does not load leaves the one in use alone; without any model the agent records, flags and syncs.
A demonstration model is refused on a real walk unless the wearer's settings say otherwise, also when it is offered.
A model on trial guides a real walk only where that was granted (device.updates.permission); it is announced as such
each time that it is put in use, and it is used no longer once the grant is withdrawn.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from device.capture.source import VideoFrame
from device.guidance.loop import READY, UPDATED, Guidance, Model
from device.updates.fetching import TOO_FULL
from device.updates.offer import Proof
from device.updates.permission import Permission
from device.updates.stillness import Stillness
from device.updates.updater import Report, Updater, current_slot
from shared import bundle
from shared.background import Background
from shared.clock import Clock
from shared.errors import BundleError
from shared.runtime import Execution, GuidanceModel

log = logging.getLogger(__name__)

RESTORED = "Previous guidance is back."
TRIAL = "Trial guidance. Walk with a sighted companion."
OFFER_GRACE_S = 2.0  # a retained offer comes within milliseconds of the subscription
WAITING, PROVING = "ready", "probation"
SETTLED = ("idle", PROVING)
POLL_S = 0.1
JOIN_S = 15.0  # a self-test under way is let finish

MODEL_TEXTS = (RESTORED, TRIAL, TOO_FULL)
"""What may be announced about models, beside `device.guidance.loop`."""

Loader = Callable[[Path], Model]
SelfTest = Callable[[Path], list[str]]


def loader(*, execution: Execution, permission: Permission) -> Loader:
    """Loads a bundle for guiding. The result raises BundleError."""
    return lambda folder: GuidanceModel.load(folder, execution=execution, allow=permission.allowed(folder))


def may_guide(manifest: bundle.Manifest, permission: Permission) -> None:
    """Before a model is fetched. Raises: BundleError for a vocabulary that is newer than this device's, and as
    Permission.check."""
    bundle.check_vocabulary(manifest)
    permission.check(manifest)


def put_in_use(guidance: Guidance, model: Model, *, announce: str) -> None:
    """From the next look on. A model on trial is announced as that, whatever else was to be said: each time that a walk
    begins or goes on with it, cutting everything but a warning."""
    on_trial = model.manifest.intended_use == bundle.TRIAL
    guidance.swap(model, announce=TRIAL if on_trial else announce, urgent=on_trial)


class Models(Protocol):
    """Where the model comes from."""

    def start(self) -> None:
        """Raises: BundleError where the settings name a model that may not be used."""
        ...

    def wait_for_offer(self, timeout_s: float, *, online: Callable[[], bool], stop: threading.Event) -> None: ...
    def looked(self, version: str) -> None: ...
    def saw(self, frame: VideoFrame) -> None: ...
    def failed(self, version: str, reason: str) -> None: ...
    def on_offer(self, payload: bytes) -> None: ...
    def on_block(self, levels: list[str], payload: bytes) -> None: ...
    def link_changed(self, online: bool) -> None: ...
    @property
    def is_settled(self) -> bool: ...
    @property
    def state_text(self) -> str: ...
    @property
    def updates(self) -> tuple[Report, ...]: ...
    def close(self) -> None: ...


class FixedModel:
    """A model named by the settings: nothing is fetched."""

    def __init__(self, folder: Path, guidance: Guidance, load: Loader) -> None:
        self._folder = folder
        self._guidance = guidance
        self._load = load

    def start(self) -> None:
        """Raises: BundleError."""
        put_in_use(self._guidance, self._load(self._folder), announce=READY)

    def wait_for_offer(self, timeout_s: float, *, online: Callable[[], bool], stop: threading.Event) -> None:
        """Nothing to wait for."""

    def looked(self, version: str) -> None:
        """Nobody else wants to know."""

    def saw(self, frame: VideoFrame) -> None:
        """No model waits."""

    def failed(self, version: str, reason: str) -> None:
        """Nobody else wants to know: the log has it."""

    def on_offer(self, payload: bytes) -> None:
        """Not followed."""
        log.info("An offered model is not fetched: the settings name one.")

    def on_block(self, levels: list[str], payload: bytes) -> None:
        """Not asked for."""

    def link_changed(self, online: bool) -> None:
        """Nothing is fetched."""

    @property
    def is_settled(self) -> bool:
        return True

    @property
    def state_text(self) -> str:
        return "fixed by the settings"

    @property
    def updates(self) -> tuple[Report, ...]:
        return ()

    def close(self) -> None:
        """Nothing to let go of."""


class OfferedModels:
    """The model in the current slot, and what the server offers after it."""

    def __init__(
        self,
        state_dir: Path,
        guidance: Guidance,
        load: Loader,
        *,
        publish: Callable[[str, bytes], bool],
        device: str,
        clock: Clock,
        selftest: SelfTest,
        permission: Permission,
        may_switch: Callable[[], bool],
        trust: Proof | None = None,
    ) -> None:
        """may_switch: whether models may be exchanged although the wearer does not stand still. trust: as in Updater.

        raises: ConfigError where another agent uses the folder
        """
        self._state_dir = state_dir
        self._guidance = guidance
        self._load = load
        self._handed_over = ""
        """Version of the model that was loaded last, or could not be: guidance has it, or never will."""
        self._stillness = Stillness(clock)
        self._agent_may_switch = may_switch
        self.updater = Updater(
            state_dir,
            publish,
            device=device,
            clock=clock,
            selftest=selftest,
            on_activated=self._activated,
            check_manifest=lambda manifest: may_guide(manifest, permission),
            may_switch=self._may_switch,
            trust=trust,
            tell=guidance.tell,
            barred=permission.barred,
            on_barred=self._barred,
        )
        self._work = Background(lambda: self.updater.run(self._work.stopping), name="model update", restart_s=10.0)

    def start(self) -> None:
        """Use the model that is there, and begin to follow offers. Raises nothing for a bad model: it is reported."""
        self.updater.start()  # may take a model back that brought the agent down, and so call _activated
        folder = current_slot(self._state_dir)
        if not self._guidance.model_version and folder is not None and not self.updater.current_barred:
            self._use(folder, self.updater.current_version, announce=READY)
        self._work.start()

    def wait_for_offer(self, timeout_s: float, *, online: Callable[[], bool], stop: threading.Event) -> None:
        """Before a walk: wait until what the server offers is in use, at most `timeout_s`."""
        waited_s = connected_s = 0.0
        while waited_s < timeout_s and not stop.wait(POLL_S):
            waited_s += POLL_S
            connected_s = connected_s + POLL_S if online() else 0.0
            if connected_s >= OFFER_GRACE_S and self.is_settled:
                return

    def looked(self, version: str) -> None:
        """A look with this model went well."""
        self.updater.report_look_ok(version)

    def saw(self, frame: VideoFrame) -> None:
        """A picture of the walk: while a model waits for its moment, does the wearer stand still?"""
        if self.updater.phase == WAITING:
            self._stillness.feed(frame)

    def failed(self, version: str, reason: str) -> None:
        """This model failed on a picture."""
        self.updater.report_failure(reason, version)

    def on_offer(self, payload: bytes) -> None:
        self.updater.on_offer(payload)

    def on_block(self, levels: list[str], payload: bytes) -> None:
        self.updater.on_block(levels, payload)

    def link_changed(self, online: bool) -> None:
        self.updater.link_changed(online)

    @property
    def updates(self) -> tuple[Report, ...]:
        """What was switched to in this run."""
        return self.updater.reports

    @property
    def is_settled(self) -> bool:
        """Nothing is being fetched, tested or switched, nor loaded: that takes seconds after the switch."""
        loaded = self.updater.phase != PROVING or self._handed_over == self.updater.current_version
        return self.updater.phase in SETTLED and loaded

    @property
    def state_text(self) -> str:
        return self.updater.state_text()

    def close(self) -> None:
        """What is under way goes on at the next start."""
        if self._work.close(JOIN_S):
            self.updater.close()

    def _may_switch(self) -> bool:
        """Nobody is guided, or nobody walks, or the wearer stands still."""
        return not self._guidance.model_version or self._agent_may_switch() or self._stillness.is_still

    def _barred(self, version: str, reason: str) -> None:
        """The model in use may not guide any more, and no other may."""
        if self._guidance.model_version:
            self._guidance.drop()
        self._handed_over = version

    def _activated(self, folder: Path, version: str) -> None:
        if not self._guidance.model_version:
            self._use(folder, version, announce=READY)
        else:
            self._use(folder, version, announce=UPDATED if self.updater.phase == PROVING else RESTORED)

    def _use(self, folder: Path, version: str, *, announce: str) -> None:
        try:
            put_in_use(self._guidance, self._load(folder), announce=announce)
        except BundleError as error:
            log.error("%s", error)
            self.updater.report_failure(str(error), version)
        finally:
            self._handed_over = version
