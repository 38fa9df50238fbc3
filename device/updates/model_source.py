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
from dataclasses import dataclass
from pathlib import Path

from device.capture.source import VideoFrame
from device.guidance.loop import READY, UPDATED, Guidance
from device.updates.machine import TOO_FULL
from device.updates.permission import Permission
from device.updates.state import UpdatePhase
from device.updates.stillness import Stillness
from device.updates.updater import Updater, UpdateReport, UpdaterPorts, current_slot
from shared import bundle
from shared.background import Background
from shared.clock import Clock
from shared.errors import BundleError, WaycueError
from shared.guidance.events import LoadedModel
from shared.runtime import Execution, GuidanceModel
from shared.sight import Camera

logger = logging.getLogger(__name__)

RESTORED = "Previous guidance is back."
TRIAL = "Trial guidance. Walk with a sighted companion."
OFFER_GRACE_S = 2.0  # a retained offer comes within milliseconds of the subscription
POLL_S = 0.1
JOIN_S = 15.0  # a self-test under way may finish

MODEL_TEXTS = (RESTORED, TRIAL, TOO_FULL)
"""What may be announced about models, beside `device.guidance.loop`."""

Loader = Callable[[Path], LoadedModel]
SelfTest = Callable[[Path], list[str]]


def loader(*, execution: Execution, camera: Callable[[], Camera], permission: Permission) -> Loader:
    """Loads a bundle for guiding. The result raises BundleError."""
    return lambda folder: GuidanceModel.load(
        folder, execution=execution, camera=camera, allow=permission.allowed(folder)
    )


def put_in_use(guidance: Guidance, model: LoadedModel, *, announce: str) -> None:
    """From the next look on. A model on trial is announced as that, whatever else was to be said: each time that a walk
    begins or goes on with it, cutting everything but a warning."""
    on_trial = model.manifest.intended_use == bundle.TRIAL
    guidance.swap(model, announce=TRIAL if on_trial else announce, urgent=on_trial)


class Models:
    """Where the model comes from. The defaults are those of a model that is never exchanged."""

    def start(self) -> None: ...  # raises BundleError where the settings name a model that may not be used
    def looked(self, version: str) -> None: ...  # a look with this model went well
    def failed(self, version: str, reason: str) -> None: ...  # this model failed on a picture
    def saw(self, frame: VideoFrame) -> None: ...  # a picture of the walk
    def on_offer(self, payload: bytes) -> None: ...
    def on_block(self, levels: list[str], payload: bytes) -> None: ...
    def link_changed(self, online: bool) -> None: ...
    def close(self) -> None: ...  # what is under way goes on at the next start

    def wait_for_offer(self, timeout_s: float, *, online: Callable[[], bool], stop: threading.Event) -> None:
        """Before a walk: wait until what the server offers is in use, at most `timeout_s`."""

    @property
    def is_settled(self) -> bool:
        """Nothing is being fetched, tested or switched, nor loaded: that takes seconds after the switch."""
        return True

    @property
    def state_text(self) -> str:
        """For the status."""
        return "fixed by the settings"

    @property
    def updates(self) -> tuple[UpdateReport, ...]:
        """What was switched to in this run."""
        return ()


class FixedModel(Models):
    """A model in a folder, such as the settings name: nothing is fetched.

    retry: on a real walk one that cannot be loaded is tried again for ever; else a person reads what `start` raises.
    """

    def __init__(self, folder: Path, guidance: Guidance, load: Loader, *, retry: bool) -> None:
        self._folder, self._guidance, self._load, self._retry = folder, guidance, load, retry
        self._why = ""
        self._tries = Background.until(self._tried, name="model tries")

    def start(self) -> None:
        if not self._retry:
            self._use()
        elif not self._tried():
            self._tries.start()

    def close(self) -> None:
        self._tries.close(JOIN_S)

    def _use(self) -> None:
        put_in_use(self._guidance, self._load(self._folder), announce=READY)

    def _tried(self) -> bool:
        try:
            self._use()
        except (WaycueError, OSError) as error:
            if str(error) != self._why:
                logger.error("No model: %s", error)
            self._why = str(error)
            return False
        return True

    def on_offer(self, payload: bytes) -> None:
        logger.info("An offered model is not fetched: the settings name one.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPorts:
    """What the models need of the agent around them."""

    clock: Clock
    load: Loader
    selftest: SelfTest
    publish: Callable[[str, bytes], bool]
    may_switch: Callable[[], bool]
    """Whether models may be exchanged although the wearer does not stand still."""


class OfferedModels(Models):
    """The model in the current slot, and what the server offers after it.

    raises: ConfigError where another agent uses the folder
    """

    def __init__(self, state_dir: Path, guidance: Guidance, ports: ModelPorts, permission: Permission) -> None:
        self._state_dir, self._guidance, self._ports = state_dir, guidance, ports
        self._handed_over: str | None = None
        """Version of the model that was loaded last, or could not be: guidance has it, or never will."""
        self._stillness = Stillness(ports.clock)
        own = UpdaterPorts(
            clock=ports.clock,
            publish=ports.publish,
            selftest=ports.selftest,
            use_model=self._use_model,
            use_no_model=self._use_no_model,
            may_switch=self._may_switch,
            announce=guidance.tell,
        )
        self.updater = Updater(state_dir, own, permission)
        self._work = Background(lambda: self.updater.run(self._work.stopping), name="model update", restart_s=10.0)
        self._tries = Background.until(self._loaded_current, name="model tries")

    def start(self) -> None:
        """Use the model that is there, and begin to follow offers. Raises nothing: a bad model is reported, and one
        that this machine cannot load for another reason is tried again."""
        try:
            self.updater.start()  # may roll back a model that brought the agent down, and so call _use_model
        except (WaycueError, OSError) as error:
            logger.error("The model before cannot be used: %s", error)
        if not self._loaded_current():
            self._tries.start()
        self._work.start()

    def _loaded_current(self) -> bool:
        """Whether there is nothing to try again."""
        folder, version = current_slot(self._state_dir), self.updater.current_version
        if self._guidance.model_version or folder is None or not version or self.updater.current_barred is not None:
            return True
        try:
            self._load(folder, version, announce=READY)
        except (WaycueError, OSError) as error:
            logger.error("No model: %s", error)
            return False
        return True

    def wait_for_offer(self, timeout_s: float, *, online: Callable[[], bool], stop: threading.Event) -> None:
        waited_s = connected_s = 0.0
        while waited_s < timeout_s and not stop.wait(POLL_S):
            waited_s += POLL_S
            connected_s = connected_s + POLL_S if online() else 0.0
            if connected_s >= OFFER_GRACE_S and self.is_settled:
                return

    def looked(self, version: str) -> None:
        self.updater.report_look_ok(version)

    def saw(self, frame: VideoFrame) -> None:
        if self.updater.phase == UpdatePhase.READY:
            self._stillness.feed(frame)

    def failed(self, version: str, reason: str) -> None:
        self.updater.report_failure(reason, version)

    def on_offer(self, payload: bytes) -> None:
        self.updater.on_offer(payload)

    def on_block(self, levels: list[str], payload: bytes) -> None:
        self.updater.on_block(levels, payload)

    def link_changed(self, online: bool) -> None:
        self.updater.link_changed(online)

    @property
    def is_settled(self) -> bool:
        phase = self.updater.phase
        loaded = self._handed_over == self.updater.current_version
        return phase == UpdatePhase.IDLE or (phase == UpdatePhase.PROBATION and loaded)

    @property
    def state_text(self) -> str:
        return self.updater.state_text()

    @property
    def updates(self) -> tuple[UpdateReport, ...]:
        return self.updater.reports

    def close(self) -> None:
        self._tries.close(JOIN_S)
        if self._work.close(JOIN_S):
            self.updater.close()

    def _may_switch(self) -> bool:
        """Nobody is guided, or nobody walks, or the wearer stands still."""
        return not self._guidance.model_version or self._ports.may_switch() or self._stillness.is_still

    def _use_no_model(self, version: str, reason: str) -> None:
        if self._guidance.model_version:
            self._guidance.drop()
        self._handed_over = version

    def _use_model(self, folder: Path, version: str) -> None:
        exchanged = UPDATED if self.updater.phase == UpdatePhase.PROBATION else RESTORED
        self._load(folder, version, announce=exchanged if self._guidance.model_version else READY)

    def _load(self, folder: Path, version: str, *, announce: str) -> None:
        try:
            put_in_use(self._guidance, self._ports.load(folder), announce=announce)
        except BundleError as error:
            logger.error("%s", error)
            self.updater.report_failure(str(error), version)
        finally:
            self._handed_over = version
