"""A verdict is carried out once, to its end, whatever interrupted it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server.learn import lineage, nightly, verdict
from server.learn.nightly import Night
from server.learn.settings import LearnSettings
from server.releases.registry import Overtaken, Registry
from shared.clock import ManualClock
from tests.server.learn.test_lineage import many
from tests.shared.bundle.bundles import contents, flip_byte, make_bundle


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    registry = Registry(tmp_path / "home", clock=ManualClock())
    yield registry
    registry.close()


def add(registry: Registry, tmp_path: Path, version: str, **evaluation: Any) -> None:
    """A version as a night registers it."""
    make_bundle(tmp_path / version, version, contents(seed=len(version + version)))
    given = (
        {"version": version, "reasons": ["12 of 12 cases right"], "champion": "", **evaluation} if evaluation else None
    )
    registry.add(tmp_path / version, evaluation=given, taught=lineage.taught(many(3), dataset=(1, "x"), seconds=1.0))


def settle(registry: Registry) -> tuple[verdict.Settled | None, list[str]]:
    said: list[str] = []
    return verdict.settle(registry.home, registry, said.append), said


def test_a_night_killed_between_registering_and_promoting_is_promoted_by_the_next_run(
    registry: Registry, tmp_path: Path
) -> None:
    add(registry, tmp_path, "n1", outcome="promoted")
    found, said = settle(registry)
    assert registry.champion() == "n1"
    assert [(change.new, change.why) for change in registry.log()] == [("n1", "12 of 12 cases right")]
    assert found is not None
    assert found.version == "n1"
    assert any("interrupted after its verdict" in text for text in said)
    assert json.loads(verdict.report(registry.home, "n1").read_text())["outcome"] == "promoted"
    assert settle(registry) == (None, [])
    assert len(registry.log()) == 1


def test_the_command_itself_finishes_it_and_says_what_the_night_came_to(registry: Registry, tmp_path: Path) -> None:
    add(registry, tmp_path, "n1", outcome="promoted", samples=3, put_aside=["put aside: sample a, frames/a.jpg: empty"])
    night = nightly.retrain(registry.home, settings=LearnSettings(), progress=lambda text: None)
    assert (night.outcome, night.version, night.samples) == ("promoted", "n1", 3)
    assert night.put_aside == ("put aside: sample a, frames/a.jpg: empty",)
    assert registry.champion() == "n1"
    again = nightly.retrain(registry.home, settings=LearnSettings(), progress=lambda text: None)
    assert again == Night("skipped", ("0 verified rows are new, 20 are needed",), champion="n1")


@pytest.mark.parametrize("outcome", ["refused", "trial"])
def test_what_was_not_accepted_is_only_written_down(registry: Registry, tmp_path: Path, outcome: str) -> None:
    add(registry, tmp_path, "n1", outcome=outcome)
    found, _ = settle(registry)
    assert found is not None
    assert registry.champion() is None
    assert json.loads(verdict.report(registry.home, "n1").read_text())["outcome"] == outcome


def test_a_verdict_against_another_champion_is_not_carried_out(registry: Registry, tmp_path: Path) -> None:
    add(registry, tmp_path, "n1", outcome="promoted")
    add(registry, tmp_path, "hand")
    registry.promote("hand", why="a person chose it")
    _, said = settle(registry)
    assert registry.champion() == "hand"
    assert any("accepted against no champion, but hand is in use now" in text for text in said)
    assert settle(registry) == (None, []), "said once"


def test_a_version_that_a_person_rolled_back_is_not_promoted_again(registry: Registry, tmp_path: Path) -> None:
    add(registry, tmp_path, "hand")
    registry.promote("hand", why="first")
    add(registry, tmp_path, "n2", outcome="promoted", champion="hand")
    registry.promote("n2", why="accepted")  # then the power went, before nights/n2.json
    registry.rollback("it talks too much")
    settle(registry)
    assert registry.champion() == "hand"


def test_what_the_registry_refuses_is_said_once_and_ends_no_later_night(registry: Registry, tmp_path: Path) -> None:
    """A field model that an older server accepted, without the gate's word in the registry."""
    make_bundle(tmp_path / "n1", "n1", contents(seed=3), intended_use="field")
    evaluation = {"version": "n1", "outcome": "promoted", "champion": "", "reasons": []}
    registry.add(tmp_path / "n1", evaluation=evaluation)
    found, said = settle(registry)
    assert found is not None
    assert registry.champion() is None
    assert any("no gate of this server has judged it" in text for text in said)
    assert settle(registry) == (None, [])


def test_a_champion_that_changed_between_reading_and_promoting_stays(registry: Registry, tmp_path: Path) -> None:
    for version in ("old", "hand", "n3"):
        add(registry, tmp_path, version)
    registry.promote("old", why="first")
    registry.promote("hand", why="a person chose it, while the night ran")
    with pytest.raises(Overtaken, match=r"n3 was accepted against old, but hand is in use now.*models promote n3"):
        registry.promote("n3", why="the night", instead_of="old")
    assert (registry.champion(), registry.alias("previous")) == ("hand", "old")
    with pytest.raises(Overtaken, match="against no champion"):
        registry.promote("n3", why="the first night", instead_of="")
    registry.promote("n3", why="the night", instead_of="hand")
    assert registry.champion() == "n3"


def test_damaged_files_are_said_and_block_nothing(registry: Registry, tmp_path: Path) -> None:
    add(registry, tmp_path, "n1", outcome="promoted")
    flip_byte(registry.bundle_folder("n1") / "tokenizer.json")
    _, said = settle(registry)
    assert registry.champion() is None
    assert any("n1 was accepted, but its files were damaged since" in text for text in said)


def test_a_folder_that_lost_its_row_is_adopted_first(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "home", clock=ManualClock())
    add(registry, tmp_path, "n1", outcome="promoted")
    registry.close()
    for file in registry.home.glob("waycue.sqlite*"):
        file.unlink()
    again = Registry(tmp_path / "home", clock=ManualClock())
    settle(again)
    assert again.champion() == "n1"
    assert lineage.seen(again)[0] == set(lineage.identities(many(3)))
    again.close()


def test_the_work_of_a_registered_night_is_cleared_and_that_of_an_unfinished_one_kept(
    registry: Registry, tmp_path: Path
) -> None:
    add(registry, tmp_path, "n1", outcome="refused")
    nights = registry.home / "nights"
    for name, begun in (("a" * 16, '{"version": "n1"}'), ("b" * 16, '{"version": "n2"}'), ("c" * 16, "{")):
        (nights / name).mkdir(parents=True)
        (nights / name / verdict.BEGUN).write_text(begun)
    (nights / f"{'d' * 16}.gone").mkdir()
    settle(registry)
    assert sorted(path.name for path in nights.iterdir()) == ["b" * 16, "c" * 16, "n1.json"]


def test_the_work_of_a_night_that_nobody_went_on_with_is_deleted_after_a_week(registry: Registry) -> None:
    nights, now_s = registry.home / "nights", 1e9
    for name, age_s in (("a" * 16, verdict.KEPT_S + 60), ("b" * 16, verdict.KEPT_S - 60)):
        (nights / name).mkdir(parents=True)
        (nights / name / verdict.BEGUN).write_text(json.dumps({"version": name, "began_utc_s": now_s - age_s}))
    (nights / ("c" * 16)).mkdir()
    os.utime(nights / ("c" * 16), (now_s - 2 * verdict.KEPT_S,) * 2)
    verdict.settle(registry.home, registry, lambda text: None, now_s=now_s)
    assert sorted(path.name for path in nights.iterdir()) == ["b" * 16]


def test_what_other_nights_left_is_cleared_and_nothing_else(tmp_path: Path) -> None:
    nights = tmp_path / "nights"
    for name in ("0123456789abcdef", "fedcba9876543210", "starter"):
        (nights / name / "features").mkdir(parents=True)
    (nights / "00000000aaaaaaaa.gone").mkdir()
    (nights / "n1-01234567.json").write_text("{}")
    verdict.clear(tmp_path, keep="fedcba9876543210")
    assert sorted(path.name for path in nights.iterdir()) == ["fedcba9876543210", "n1-01234567.json", "starter"]
    verdict.clear(tmp_path / "nowhere", keep="")
