"""Profiles: sets of settings by name, put on by a press in mid-walk, spoken, and kept over a restart."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Literal

import pytest

from device import build, profiles
from device import config as settings
from device.agent.profile_choice import FILE, ProfileChoice
from device.agent.run import SAID_BEFOREHAND
from device.controls.actions import ButtonAction
from device.controls.buttons import KEYS
from shared import monitor, vocabulary
from shared.errors import ConfigError
from shared.policy import PolicySettings, WordIt
from shared.runtime.seen import Hazard
from tests.device.agent.stage import StoryModel, film, nothing, presses, run
from tests.docs.pages import section
from tests.shared.policy.walk import Walk


def loaded(folder: Path, text: str) -> settings.Config:
    file = folder / "device.toml"
    file.write_text(text)
    return settings.load(file)


def test_each_packaged_profile_sets_what_the_page_says() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| ([a-z ]+) \| (.+) \|$", section("settings.md", "Profiles"), re.MULTILINE)
    rows = [row for row in rows if row[0] != "spoken"]
    told = {name: (spoken, dict(re.findall(r"`(\w+) = ([^`]+)`", sets))) for name, spoken, sets in rows}
    for name, profile in profiles.packaged().items():
        spoken, values = told[name]
        own = {item.name: getattr(profile, item.name) for item in dataclasses.fields(profile) if item.name != "spoken"}
        assert spoken == profile.spoken
        assert {key: str(value).strip('"') for key, value in values.items()} == {
            key: str(value) for key, value in own.items() if value is not None
        }
    assert list(profiles.packaged()) == [
        "cane",
        "guide-dog",
        "low-vision",
        "weak-left",
        "weak-right",
        "indoor",
        "street",
    ]


@pytest.mark.parametrize("text", profiles.PROFILE_TEXTS)
def test_every_profile_may_be_announced_and_is_rendered_beforehand(text: str) -> None:
    assert vocabulary.may_be_announced(text)
    assert monitor.stopped(text, tier=2, why="state") is None
    assert text in SAID_BEFOREHAND


def test_presses_go_through_all_of_them_and_then_none(tmp_path: Path) -> None:
    chosen = loaded(tmp_path, '[guidance.profiles.market]\nspoken = "market place"\nverbosity = "obstacles"\n')
    choice, worn, told = ProfileChoice(chosen, tmp_path), list[PolicySettings](), list[str]()
    for _ in range(len(profiles.packaged()) + 3):
        choice.next(worn.append, told.append)
    assert told[:2] == ["Profile: cane.", "Profile: guide dog."]
    assert told[-3:] == ["Profile: market place.", "Profile: as set.", "Profile: cane."]
    assert (worn[1].lead, worn[1].words_per_minute_max) == ("late", 40)
    assert worn[-3].verbosity == "obstacles"
    assert worn[-2] == build.policy_settings(chosen)


def test_no_profile_changes_what_a_warning_needs() -> None:
    before = PolicySettings()
    for profile in profiles.packaged().values():
        after = profiles.worn(before, profile)
        for name in ("hazard_above", "at_once_above", "speak_above", "say_clear", "clear_above", "trial_classes"):
            assert getattr(after, name) == getattr(before, name)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[guidance]\nprofile = "guide-dgo"\n', "guide-dog"),
        ('[guidance]\nprofile = "nothing-like-it"\n', "There are: cane, "),
        ('[guidance.profiles.x]\nverbosity = "loud"\n', "warnings, obstacles, all"),
        ("[guidance.profiles.x]\nhazard_above = 0.9\n", "no setting"),
        ("[guidance.profiles.x]\nwords_per_minute_max = 900\n", "0 to 400"),
        ("[guidance.profiles.street]\n", "spoken"),
        ('[guidance.profiles.x]\nspoken = "all clear"\n', "spoken"),
        ('[guidance.profiles.x]\nspoken = "go on"\n', "spoken"),
        ("[guidance]\nprofiles = 3\n", "tables"),
        ('[guidance.profiles.""]\n', "a few words"),
        ('[guidance.profiles.x]\nspoken = "..."\n', "a few words"),
        ('[guidance.profiles.x]\nspoken = "market\\nplace"\n', "a few words"),
        (f'[guidance.profiles.x]\nspoken = "{"word " * 8}"\n', "a few words"),
        ('[guidance.profiles.x]\nspoken = "Cane!"\n', "'cane' and 'x' are announced alike"),
        ('[guidance.profiles.x]\nspoken = "as set"\n', "announced alike"),
    ],
)
def test_a_profile_that_cannot_be_is_refused_with_what_to_write(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        loaded(tmp_path, text)


def test_the_choice_survives_a_restart_until_the_setting_is_changed(tmp_path: Path) -> None:
    chosen = loaded(tmp_path, '[guidance]\nprofile = "cane"\n')
    choice = ProfileChoice(chosen, tmp_path)
    choice.next(lambda worn: None, lambda text: None)
    choice.keep()
    assert ProfileChoice(chosen, tmp_path).name == "guide-dog"
    assert ProfileChoice(loaded(tmp_path, '[guidance]\nprofile = "street"\n'), tmp_path).name == "street"


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", '{"profile": 3, "setting": ""}', '{"profile": "gone", "setting": ""}']
)
def test_a_damaged_choice_is_the_setting(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_text(content)
    assert ProfileChoice(settings.load(None), tmp_path).name == ""


def test_a_press_puts_on_the_next_profile_in_mid_walk_says_so_and_keeps_it(tmp_path: Path) -> None:
    script = presses(tmp_path, *({"t_s": 1.0 + 0.1 * n, "action": "profile"} for n in range(3)))
    done = run(tmp_path, StoryModel(nothing), walk=film(tmp_path, 6.0), buttons__script=str(script))
    assert done.texts[-1] == "Profile: low vision."
    again = run(tmp_path, StoryModel(nothing), walk=film(tmp_path, 3.0))
    assert ProfileChoice(settings.load(None, {"device.state": str(again.state)}), again.state).name == "low-vision"


def test_the_key_n_is_the_next_profile() -> None:
    assert KEYS["n"] is ButtonAction.PROFILE


LEFT, RIGHT = Hazard("bin", "on the left", 0.8), Hazard("pole", "on the right", 0.9)


@pytest.mark.parametrize(("weak_side", "first"), [("none", "pole"), ("left", "bin"), ("right", "pole")])
def test_of_things_of_one_kind_that_on_the_weak_side_comes_first(
    weak_side: Literal["none", "left", "right"], first: str
) -> None:
    walk = Walk(settings=dataclasses.replace(PolicySettings(), weak_side=weak_side))
    walk.look(LEFT, RIGHT)
    walk.wait(0.25)
    walk.look(LEFT, RIGHT)
    asked = next(action for _, action in walk.actions if isinstance(action, WordIt))
    assert asked.about[0].object == first


def test_what_is_on_the_weak_side_is_asked_about_at_the_first_look_and_also_by_who_wants_words_late() -> None:
    leads: tuple[Literal["normal", "late"], ...] = ("normal", "late")
    for lead in leads:
        walk = Walk(settings=dataclasses.replace(PolicySettings(), weak_side="left", lead=lead))
        (asked,) = walk.look(Hazard("bin", "on the left", 0.6))
        assert isinstance(asked, WordIt)
        walk = Walk(settings=dataclasses.replace(PolicySettings(), weak_side="left", lead=lead))
        assert walk.look(Hazard("bin", "on the right", 0.6)) == ()


def test_a_warning_ahead_comes_before_anything_on_the_weak_side() -> None:
    walk = Walk(settings=dataclasses.replace(PolicySettings(), weak_side="left"))
    walk.look(Hazard("bin", "on the left", 0.99), Hazard("curb", "ahead", 0.97))
    assert [speak.text for _, speak in walk.spoken] == ["Stop, curb ahead."]
