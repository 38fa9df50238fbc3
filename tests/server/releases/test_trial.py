"""A version on trial: registered as such, never the champion, offered only to supervised wearers who are named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tuf.api.metadata import Metadata, Targets

from server.commands.main import main
from server.database import store as db
from server.releases.offers import Offers
from server.releases.registry import ON_TRIAL, REGISTERED, Registry
from server.releases.rollout_requests import RolloutRequest
from server.releases.rollouts import Rollouts
from server.releases.signing import Release
from shared import assignment, bundle, messages
from shared.clock import ManualClock
from shared.errors import Refused
from shared.messages import Offer, Status
from tests.shared.bundle.bundles import PASSED, contents, make_bundle

NOW_S = 1_795_200_000.0


class TrialServer:
    """A server with a field model `m1` and one on trial, `t1`; nothing is promoted."""

    def __init__(self, place: Path) -> None:
        self.home, self.clock = place / "home", ManualClock(epoch_s=NOW_S)
        assert main(["--home", str(self.home), "init"]) == 0
        self.registry = Registry(self.home, clock=self.clock)
        self.release = Release.make(self.home, clock=self.clock)
        self.push = Offers(self.registry, clock=self.clock, release=self.release)
        self.rollouts: Rollouts = self.push.rollouts
        for number, (version, use) in enumerate((("m1", bundle.FIELD), ("t1", bundle.TRIAL))):
            make_bundle(place / version, version, contents({"a.onnx": 500}, seed=number), intended_use=use)
            self.registry.add(place / version, evaluation=PASSED if use == bundle.FIELD else None)
        for device in ("anna", "ben"):
            self.says(device, "")

    def says(self, device: str, version: str, state: str = "idle") -> None:
        status = messages.to_dict(Status(online=True, model_version=version, model_state=state))
        row = {"seen_at": self.clock.utc_s(), "online": True, "status": status}
        with self.registry.store.writing() as connection:
            connection.execute(db.devices.delete().where(db.devices.c.device == device))
            connection.execute(db.devices.insert().values(device=device, **row))

    def offered(self) -> dict[str, str]:
        """What is due to be offered: device → version."""
        return {topic.split("/")[2]: messages.decode(Offer, data).version for topic, data in self.push.due()}

    def signed(self) -> dict[str, Any]:
        """Version → custom, as devices will read it."""
        targets = next(data for file, data in self.release.files() if file.name.endswith("targets.json"))
        found = Metadata[Targets].from_bytes(targets).signed.targets
        return {path.split("/")[1]: target.custom for path, target in found.items()}

    def run(self, *words: str) -> int:
        return main(["--home", str(self.home), *words])


@pytest.fixture
def house(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[TrialServer]:
    house = TrialServer(tmp_path)
    capsys.readouterr()
    yield house
    house.registry.close()


def supervised(house: TrialServer, *, device: str = "anna") -> None:
    house.rollouts.start(RolloutRequest("t1", devices=[device], supervised=True, companion="Carla", why="first walk"))


# --- the registry ---


def test_the_state_of_a_version_is_what_its_manifest_says(
    house: TrialServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert {model.version: model.state for model in house.registry.list()} == {"m1": REGISTERED, "t1": ON_TRIAL}
    assert house.run("models", "list", "--json") == 0
    assert {one["version"]: one["state"] for one in json.loads(capsys.readouterr().out)} == {
        "m1": "registered",
        "t1": "trial",
    }
    assert house.run("models", "list") == 0
    assert "trial" in next(line for line in capsys.readouterr().out.splitlines() if line.startswith("t1"))


def test_the_state_survives_the_loss_of_the_database(house: TrialServer, tmp_path: Path) -> None:
    house.registry.close()
    (house.home / db.DATABASE_NAME).unlink()
    with_rows = Registry(house.home, clock=house.clock)
    try:
        assert with_rows.add(tmp_path / "t1").state == ON_TRIAL
    finally:
        with_rows.close()


def test_adding_a_folder_on_trial_says_what_can_be_done_with_it(
    house: TrialServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_bundle(tmp_path / "t2", "t2", intended_use="trial")
    assert house.run("models", "add", str(tmp_path / "t2")) == 0
    out = capsys.readouterr().out
    assert "on trial" in out
    assert "rollout start t2 --device NAME --supervised" in out
    assert "promote" not in out


@pytest.mark.parametrize("words", [("models", "promote", "t1"), ("rollout", "finish", "t1")])
def test_a_version_on_trial_cannot_become_the_champion(
    words: tuple[str, ...], house: TrialServer, capsys: pytest.CaptureFixture[str]
) -> None:
    house.registry.promote("m1", "first")
    house.clock.sleep(1)
    supervised(house)
    assert house.run(*words) == 1
    reported = capsys.readouterr().err
    for part in ("t1 is on trial", "gate --explain t1", "rollout start t1 --device NAME --supervised"):
        assert part in reported
    assert house.registry.champion() == "m1"
    assert house.rollouts.status()[0].rollout.state == "running"


def test_going_back_to_a_version_on_trial_is_refused(house: TrialServer) -> None:
    """No command makes it `previous`; a database edited by hand, or of another version, might."""
    house.registry.promote("m1", "first")
    with house.registry.store.writing() as connection:
        connection.execute(db.aliases.insert().values(name="previous", version="t1"))
    with pytest.raises(Refused, match="t1 is on trial"):
        house.registry.rollback("worse")
    assert house.registry.champion() == "m1"


def test_the_manifest_counts_and_not_what_the_database_says(house: TrialServer) -> None:
    with house.registry.store.writing() as connection:
        connection.execute(db.models.update().values(state=REGISTERED))
    with pytest.raises(Refused, match="t1 is on trial"):
        house.registry.promote("t1", "it looks well")
    with pytest.raises(Refused, match="t1 is on trial"):
        house.rollouts.start(RolloutRequest("t1", percent=100))


# --- rollouts ---


def test_a_supervised_rollout_is_signed_for_the_named_device_alone(house: TrialServer) -> None:
    house.registry.promote("m1", "first")
    house.clock.sleep(1)
    supervised(house)
    assert house.offered() == {"anna": "t1", "ben": "m1"}
    signed = house.signed()
    assert signed["t1"]["supervised"] is True
    assert (signed["t1"]["percent"], signed["t1"]["devices"]) == (0, [assignment.device_hash("t1", "anna")])
    assert "supervised" not in signed["m1"]
    (change,) = house.rollouts.log()
    assert (change.version, change.what, change.why) == ("t1", "started supervised for anna", "with Carla; first walk")


@pytest.mark.parametrize(
    ("wrong", "reported"),
    [
        ({"devices": ["anna"]}, "t1 is on trial"),
        ({"percent": 100}, "t1 is on trial"),
        ({"devices": ["anna"], "percent": 10, "supervised": True, "companion": "Carla"}, "each wearer who tries it"),
        ({"cohort": "testers", "supervised": True, "companion": "Carla"}, "each wearer who tries it"),
        ({"percent": 100, "supervised": True, "companion": "Carla"}, "each wearer who tries it"),
        ({"devices": ["anna"], "supervised": True}, "Nobody is named who walks along"),
        ({"devices": ["anna"], "supervised": True, "companion": "  "}, "Nobody is named who walks along"),
    ],
)
def test_a_version_on_trial_goes_to_nobody_else(house: TrialServer, wrong: dict[str, Any], reported: str) -> None:
    with pytest.raises(Refused, match=reported) as refusal:
        house.rollouts.start(RolloutRequest("t1", **wrong))
    assert "--companion" in str(refusal.value)
    assert house.rollouts.status() == ()
    assert house.offered() == {}


def test_a_version_that_is_not_on_trial_needs_no_companion(house: TrialServer) -> None:
    with pytest.raises(Refused, match="m1 is not on trial"):
        house.rollouts.start(RolloutRequest("m1", devices=["anna"], supervised=True, companion="Carla"))


@pytest.mark.parametrize("force", [False, True])
def test_a_supervised_rollout_is_not_advanced_to_a_share_of_all(house: TrialServer, force: bool) -> None:
    supervised(house)
    with pytest.raises(Refused, match="to no share of the others"):
        house.rollouts.advance(percent=100, force=force)
    assert house.rollouts.status()[0].rollout.percent == 0


def test_a_halted_trial_is_taken_back_under_newer_metadata_where_there_is_no_other_model(house: TrialServer) -> None:
    supervised(house)
    assert house.offered() == {"anna": "t1"}
    house.clock.sleep(10)
    house.rollouts.halt(why="it talks too much")
    assert house.offered() == {"anna": "t1"}  # brings the metadata that no longer name anna
    assert house.signed() == {}
    assert house.offered() == {}  # once
    house.clock.sleep(10)
    supervised(house)
    house.says("anna", "", "withdrawn: t1: it is not for us any more")
    assert house.offered() == {"anna": "t1"}
    assert house.signed()["t1"]["supervised"] is True
    assert house.rollouts.status()[0].rollout.state == "running"  # what the device said of the one before is no failure


def test_a_halted_trial_gives_way_to_the_champion(house: TrialServer) -> None:
    house.registry.promote("m1", "first")
    house.clock.sleep(1)
    supervised(house)
    assert house.offered()["anna"] == "t1"
    house.rollouts.halt()
    assert house.offered()["anna"] == "m1"
    assert list(house.signed()) == ["m1"]


def test_a_halted_rollout_that_was_not_on_trial_leaves_a_device_without_champion_as_it_was(house: TrialServer) -> None:
    house.rollouts.start(RolloutRequest("m1", devices=["anna"]))
    assert house.offered() == {"anna": "m1"}
    house.rollouts.halt()
    assert house.offered() == {}


def test_the_commands_do_it_and_tell_it(house: TrialServer, capsys: pytest.CaptureFixture[str]) -> None:
    start = ("rollout", "start", "t1", "--device", "anna")
    assert house.run(*start) == 1
    assert "--supervised --companion" in capsys.readouterr().err
    assert house.run(*start, "--supervised", "--companion", "Carla") == 0
    assert "t1 is offered to anna, supervised, with Carla." in capsys.readouterr().out
    assert house.run("rollout", "status") == 0
    assert "for anna, supervised, with Carla" in capsys.readouterr().out
    assert house.run("rollout", "status", "--json") == 0
    (found,) = json.loads(capsys.readouterr().out)["rollouts"]
    assert (found["supervised"], found["companion"]) == (True, "Carla")
    assert house.run("rollout", "advance", "--all", "--force") == 1
    assert "on trial" in capsys.readouterr().err


def test_a_version_that_the_gate_refused_goes_to_nobody_not_even_supervised(house: TrialServer, tmp_path: Path) -> None:
    make_bundle(tmp_path / "t2", "t2", contents({"a.onnx": 500}, seed=7), intended_use=bundle.TRIAL)
    house.registry.add(tmp_path / "t2", evaluation={"version": "t2", "outcome": "refused"})
    with pytest.raises(Refused, match=r"The gate refused t2.*gate --explain t2"):
        house.rollouts.start(RolloutRequest("t2", devices=["anna"], supervised=True, companion="Carla"))
    assert house.offered() == {}


# --- made for the field, without the gate's word ---


@pytest.fixture(params=["added by hand", "refused", "before there was a gate", "its own word"])
def unjudged(request: pytest.FixtureRequest, house: TrialServer, tmp_path: Path) -> str:
    """A whole field bundle that no gate of this server passed."""
    how: dict[str, dict[str, Any] | None] = {
        "added by hand": None,
        "refused": {"gate": {"verdict": "refused", "rules": []}},
        "before there was a gate": {"outcome": "promoted"},
        "its own word": None,
    }
    claimed = PASSED if request.param == "its own word" else {}
    make_bundle(tmp_path / "f1", "f1", contents({"a.onnx": 500}, seed=8), intended_use="field", evaluation=claimed)
    house.registry.add(tmp_path / "f1", evaluation=how[request.param])
    return "f1"


def test_a_field_model_that_no_gate_passed_leads_nowhere(house: TrialServer, unjudged: str) -> None:
    house.registry.promote("m1", "first")
    for way in (
        lambda: house.registry.promote(unjudged, "it looks well"),
        lambda: house.rollouts.start(RolloutRequest(unjudged, devices=["anna"])),
        lambda: house.rollouts.start(RolloutRequest(unjudged, percent=100)),
    ):
        with pytest.raises(Refused, match=r"guides nobody on its own.*waycue-server (gate --explain|retrain)"):
            way()
    with house.registry.store.writing() as connection:
        connection.execute(db.aliases.insert().values(name="previous", version=unjudged))
    with pytest.raises(Refused, match="guides nobody on its own"):
        house.registry.rollback("worse")
    assert house.registry.champion() == "m1"
    assert set(house.offered().values()) == {"m1"}


def test_a_rollout_from_before_the_gate_is_not_finished(house: TrialServer, unjudged: str) -> None:
    house.rollouts.start(RolloutRequest("m1", devices=["anna"]))
    with house.registry.store.writing() as connection:
        connection.execute(db.rollouts.update().values(version=unjudged))
    with pytest.raises(Refused, match="guides nobody on its own"):
        house.rollouts.finish(unjudged)
    assert house.registry.champion() is None


def test_a_field_champion_of_an_older_server_stays_and_is_said(
    house: TrialServer, unjudged: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with house.registry.store.writing() as connection:
        connection.execute(db.aliases.insert().values(name="champion", version=unjudged))
    assert set(house.offered().values()) == {unjudged}, "a walk does not lose its guidance over a record"
    assert house.run("models", "list") == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "champion, never judged" in lines[unjudged]
    assert "never judged" not in lines["m1"]
    assert "never judged" not in lines["t1"]
    assert house.run("check") == 0
    assert f"{unjudged} (the champion) is made for the field, but no gate" in capsys.readouterr().out
    assert house.run("check", "--json") == 0
    assert json.loads(capsys.readouterr().out)["never_judged"] == [f"{unjudged} (the champion)"]


def test_adding_a_field_bundle_does_not_say_to_promote_it(
    house: TrialServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_bundle(tmp_path / "f2", "f2", intended_use="field")
    assert house.run("models", "add", str(tmp_path / "f2")) == 0
    out = capsys.readouterr().out
    assert "no gate of this server has judged it" in out
    assert "promote" not in out
    assert house.run("models", "promote", "f2") == 1
    assert "guides nobody on its own" in capsys.readouterr().err
