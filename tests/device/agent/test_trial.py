"""A model on trial in a real agent: said aloud at every start of a walk, and only where it may guide."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from device import config as settings
from device.agent.parts import AgentPorts, RunOptions
from device.agent.run import SAID_BEFOREHAND, Agent
from device.capture.open import open_source
from device.capture.settings import CaptureSettings
from device.commands import selftest
from device.commands.check_result import CheckResult
from device.health import status
from device.identity import identity
from device.updates.model_source import TRIAL, put_in_use
from device.updates.slots import current_slot
from server.releases.rollout_requests import RolloutRequest
from shared import bundle
from shared.clock import SystemClock
from shared.errors import BundleError
from shared.runtime.seen import Hazard
from tests.device.agent.stage import CLEAR, Card, Running, StoryModel, config, film, introduced, nothing, result, run
from tests.device.updates.house import no_problems
from tests.device.updates.test_over_tls import PublishingServer
from tests.pulse import until
from tests.secure import SecureSite
from tests.shared.bundle.bundles import PASSED, contents, make_bundle
from tests.shared.runtime.altered import rewrite

CLOCK = SystemClock()
CURB = Hazard("curb", "ahead", 0.97)
ON_TRIAL = Card("t1", intended_use="trial")


# --- what it says ---


def test_a_trial_is_said_at_every_start_of_a_walk_and_once_in_each(tmp_path: Path) -> None:
    for walk in ("first", "second"):
        (tmp_path / walk).mkdir()
        done = run(tmp_path / walk, StoryModel(nothing, ON_TRIAL))
        assert done.texts == [TRIAL]
        assert done.report["model_version"] == "t1"


def test_other_models_say_nothing_of_a_trial(tmp_path: Path) -> None:
    for use in ("field", "demo"):
        (tmp_path / use).mkdir()
        assert run(tmp_path / use, StoryModel(nothing, Card("m1", intended_use=use))).texts == ["Guidance ready."]


def test_it_is_rendered_before_the_walk_like_any_announcement() -> None:
    assert TRIAL in SAID_BEFOREHAND


def test_a_trial_that_takes_over_in_mid_walk_says_so(tmp_path: Path) -> None:
    made: list[Agent] = []
    coming = StoryModel(nothing, ON_TRIAL)

    class Swapping(StoryModel):
        def seeing(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
            if self.looks == 8:
                put_in_use(made[0].parts.guidance, coming, announce="Guidance updated.")
            return image

    chosen = config(tmp_path, film(tmp_path))
    first = Swapping(nothing)
    options = RunOptions(report=tmp_path / "report.json", captions=tmp_path / "captions.jsonl", exit_at_end=True)
    made.append(Agent(chosen, options, AgentPorts(CLOCK, load=lambda folder: coming)))
    made[0].parts.guidance.swap(first, announce="Guidance ready.")
    made[0].run()
    assert result(tmp_path).texts == ["Guidance ready.", TRIAL]
    assert coming.looks > 0


def test_a_warning_that_cuts_the_announcement_does_not_drop_it(tmp_path: Path) -> None:
    """A curb at the very first look: the warning comes first, and what it cut off is said after it."""
    wav = tmp_path / "speech.wav"
    curb = StoryModel(lambda look: ((CURB,), CLEAR) if look < 3 else ((), CLEAR), ON_TRIAL)
    done = run(tmp_path, curb, capture__pace="real", voice__speech=str(wav))
    assert "Stop, curb ahead." in done.texts
    warned = done.texts.index("Stop, curb ahead.")
    assert TRIAL in done.texts[warned:] or done.texts[0] == TRIAL
    heard = [entry for entry in done.report["announced"] if entry["text"] == TRIAL and entry["heard_s"] is not None]
    assert heard


# --- where it may guide ---


def test_a_trial_that_the_settings_name_guides_a_replay_but_a_real_walk_only_by_a_setting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_bundle(tmp_path / "t1", "t1", intended_use="trial")
    camera: dict[str, Any] = {"capture.source": "camera:9"}
    for number, (more, refused) in enumerate(
        (
            (camera, True),
            (camera | {"guidance.allow_demo_model": True}, True),
            (camera | {"guidance.allow_trial_model": True}, False),
            ({"capture.source": f"replay:{film(tmp_path)}"}, False),
        )
    ):
        named = {"guidance.model": str(tmp_path / "t1"), "voice.speech": "none", "buttons.keys": False}
        chosen = settings.load(None, named | more | {"device.state": str(tmp_path / f"state-{number}")})
        made = Agent(chosen, RunOptions(exit_at_end=True), AgentPorts(CLOCK))
        caplog.clear()
        if "replay" in chosen.capture.source:  # a person reads why
            with pytest.raises(BundleError) as refusal:
                made.run()
            why = str(refusal.value)
        else:
            with Running(made):
                until(lambda: "No model: " in caplog.text, "the refusal")
            why = caplog.text
        # Where it is let through, it is turned down for another reason: random bytes are no model.
        assert ("is on trial" in why) == refused, more
        assert ("could not be loaded" in why or "manifest lacks" in why) != refused


def test_the_selftest_says_of_a_trial_whether_it_may_guide_this_wearer(starter_bundle: Path, tmp_path: Path) -> None:
    copy = tmp_path / "t1"
    shutil.copytree(starter_bundle, copy)
    rewrite(copy, intended_use="trial")

    def check(**more: object) -> CheckResult:
        reported: dict[str, Any] = {"capture.source": "camera:9", "device.state": str(tmp_path / "state")}
        chosen = settings.load(None, reported | {"guidance.model": str(copy)} | more)
        return selftest.selftest(chosen, CLOCK, only=("model",))[0]

    refused = check()
    assert not refused.ok
    assert "is on trial" in refused.found
    assert "--supervised" in refused.do
    assert check(**{"guidance.allow_trial_model": True}).ok
    assert check(**{"capture.source": "replay:walk.mp4"}).ok


class Worn:
    """An agent as a wearer has it: enrolled, over TLS, with a camera. Only the camera is played by a film."""

    def __init__(self, site: SecureSite, house: PublishingServer, place: Path, name: str) -> None:
        card, self.state = site.enrol(name), place / f"state-{name}"
        self.captions, self.place, self._options = place / f"{name}.jsonl", place, place / f"{name}-report.json"
        introduced(self.state)
        folder = self.state / identity.FOLDER
        folder.mkdir(parents=True)
        for file in card.folder.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        (folder / identity.KEY).chmod(0o600)
        (folder / identity.ROOT).write_bytes(house.release.root_json())
        reported = {"format": 1, "device": name, "broker": f"{site.host}:{site.port}", "server": "localhost:8443"}
        (folder / identity.ENROLMENT).write_text(json.dumps(reported | {"enrolled_at_utc": CLOCK.utc_s()}))
        self.models: list[StoryModel] = []
        self._film = film(place, 120.0)

    def agent(self) -> Agent:
        wanted: dict[str, Any] = {
            "capture.source": "camera:9",
            "device.state": str(self.state),
            "voice.speech": "none",
            "buttons.keys": False,
            "flags.audit_share": 0.0,
            "capture.clips": False,
        }
        options = RunOptions(captions=self.captions, exit_at_end=True, linger_s=0.0)
        walk = open_source(CaptureSettings(f"replay:{self._film}", pace="real"), clock=CLOCK)
        ports = AgentPorts(CLOCK, load=self._load, selftest=no_problems, source=walk)
        return Agent(settings.load(None, wanted), options, ports)

    def _load(self, folder: Path) -> StoryModel:
        """Random bytes stand for a model; what its manifest says of it is real."""
        manifest = bundle.verify(folder)
        self.models.append(StoryModel(nothing, Card(manifest.version, intended_use=manifest.intended_use)))
        return self.models[-1]

    @property
    def texts(self) -> list[str]:
        if not self.captions.exists():
            return []
        return [json.loads(line)["text"] for line in self.captions.read_text().splitlines()]

    @property
    def looks(self) -> int:
        """Of the model that was loaded last."""
        return self.models[-1].looks if self.models else 0

    @property
    def update(self) -> str:
        """As `waycue-device status` tells it."""
        found = status.read(self.state, CLOCK)
        return "" if found is None else found.model_state

    @property
    def current(self) -> str:
        folder = current_slot(self.state)
        return "" if folder is None else bundle.verify(folder).version


def trial(house: PublishingServer, place: Path) -> None:
    make_bundle(place / "t1", "t1", contents({"a.onnx": 200_000}, seed=9), intended_use="trial")
    house.registry.add(place / "t1")


def named(house: PublishingServer) -> None:
    house.push.rollouts.start(RolloutRequest("t1", devices=["anna"], supervised=True, companion="Carla"))


def test_a_supervised_wearer_walks_with_the_trial_until_it_is_withdrawn_and_then_with_nothing(
    secure_broker: SecureSite, tmp_path: Path
) -> None:
    with closing(PublishingServer(secure_broker, tmp_path)) as house:
        assert house.link.ready.wait(60)
        trial(house, tmp_path)
        anna = Worn(secure_broker, house, tmp_path, "anna")
        with Running(anna.agent()):
            until(lambda: "No model. Recording only." in anna.texts, "the walk without a model")
            named(house)
            until(lambda: TRIAL in anna.texts, "the trial")
            until(lambda: anna.looks > 25, "looks")
            house.push.rollouts.halt(why="enough for today")
            until(lambda: anna.texts[-1] == "No model. Recording only.", "the withdrawal")
            looks = anna.looks
            named(house)
            until(lambda: anna.texts[-1] == TRIAL, "the trial again")
            until(lambda: anna.looks > 0, "looks again")
            assert anna.models[0].looks == looks
        assert anna.texts == ["No model. Recording only.", TRIAL, "No model. Recording only.", TRIAL]
        anna.captions.unlink()
        with Running(anna.agent()):  # another walk, which begins with it
            until(lambda: TRIAL in anna.texts, "the trial at the start")
        assert anna.texts == [TRIAL]


def test_a_withdrawn_trial_gives_way_in_mid_walk_to_the_field_model_before_it(
    secure_broker: SecureSite, tmp_path: Path
) -> None:
    make_bundle(tmp_path / "f1", "f1", contents({"a.onnx": 200_000}, seed=7), intended_use="field")
    with closing(PublishingServer(secure_broker, tmp_path)) as house:
        assert house.link.ready.wait(60)
        house.registry.add(tmp_path / "f1", evaluation=PASSED)
        house.registry.promote("f1", "first")
        trial(house, tmp_path)
        anna = Worn(secure_broker, house, tmp_path, "anna")
        with Running(anna.agent()):
            until(lambda: anna.looks > 25, "the field model")
            named(house)
            until(lambda: anna.update == "ready t1", "the trial, which waits while somebody walks")
        with Running(anna.agent()):
            until(lambda: anna.current == "t1" and anna.looks > 25, "the trial")
            house.push.rollouts.halt(why="it talks too much")
            until(lambda: anna.texts[-1] == "Previous guidance is back.", "the field model again")
            assert anna.current == "f1"
            assert anna.models[-1].manifest.version == "f1"
        assert anna.texts == ["No model. Recording only.", "Guidance ready.", TRIAL, "Previous guidance is back."]
