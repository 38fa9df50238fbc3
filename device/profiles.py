"""Profiles: named sets of what a wearer wants to hear, changed by one press in mid-walk.

Those that come with waycue are data (profiles.toml beside this file); own ones, and others of the same names, are
[guidance.profiles.NAME] in device.toml. Both go through the reader of all settings. Thresholds of a model and whether
"path is clear" may be said are in none: a press must not change what a warning needs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from shared import monitor, settings, vocabulary
from shared.errors import ConfigError
from shared.policy import PolicySettings

FILE = Path(__file__).with_name("profiles.toml")
AS_SET = "Profile: as set."
MOST_WORDS = 8
"""Of an announcement."""
_WORD = re.compile(r"\w+")
ABOUT_PROFILE = "profile"


@dataclass(frozen=True, slots=True)
class ProfileSettings:
    """None = as in [guidance]; there is also what each means."""

    spoken: str = ""
    """How it is announced. Empty = its name, with spaces for hyphens."""
    verbosity: Literal["warnings", "obstacles", "all"] | None = None
    lead: Literal["early", "normal", "late"] | None = None
    confirmations: bool | None = None
    weak_side: Literal["none", "left", "right"] | None = None
    words_per_minute_max: Annotated[int, Meta(ge=0, le=400)] | None = None
    repeat_after_s: Annotated[float, Meta(ge=1, le=600)] | None = None


@cache
def packaged() -> Mapping[str, ProfileSettings]:
    """Those that come with waycue, in the order of their file."""
    return settings.tables(ProfileSettings, FILE)


def known(own: Mapping[str, ProfileSettings]) -> dict[str, ProfileSettings]:
    """All by name, in the order in which presses go through them: the packaged first, then the wearer's own."""
    return {**packaged(), **own}


def announcement(name: str, profile: ProfileSettings | None) -> str:
    """What is said when it is put on. None = no profile."""
    return AS_SET if profile is None else f"Profile: {profile.spoken or name.replace('-', ' ')}."


PROFILE_TEXTS = (AS_SET, *(announcement(name, profile) for name, profile in packaged().items()))


def worn(policy: PolicySettings, profile: ProfileSettings | None) -> PolicySettings:
    """The wearer's settings with a profile over them."""
    if profile is None:
        return policy
    values = {item.name: getattr(profile, item.name) for item in fields(profile) if item.name != "spoken"}
    return replace(policy, **{name: value for name, value in values.items() if value is not None})


def after(name: str, profiles: Mapping[str, ProfileSettings]) -> str:
    """The next one; "" = none, which comes after the last."""
    names = ["", *profiles]
    return names[(names.index(name) + 1) % len(names)] if name in names else ""


def check(chosen: str, own: Mapping[str, ProfileSettings]) -> None:
    """Raises: ConfigError for a profile that is not there, whose name may not be said, or that sounds like another."""
    heard = {tuple(_WORD.findall(AS_SET.lower())): "no profile"}
    for name, profile in known(own).items():
        text = announcement(name, profile)
        words = tuple(_WORD.findall(text.lower()))
        if name in own and (not 1 < len(words) <= MOST_WORDS or not text.isprintable()):
            raise ConfigError(
                f"guidance.profiles.{name!r} cannot be announced: {text[:60]!r} is not a few words on one line.",
                hint='Set its "spoken" to a few words.',
            )
        other = heard.setdefault(words, name)
        if other != name:
            raise ConfigError(
                f"The profiles {other!r} and {name!r} are announced alike: {text!r}.", hint='Set "spoken" of one.'
            )
        if not vocabulary.may_be_announced(text) or monitor.stopped(text, tier=2, why="state") is not None:
            raise ConfigError(
                f"guidance.profiles.{name} cannot be announced: {text!r} orders something, promises something, or names"
                " a danger.",
                hint='Set its "spoken" to other words.',
            )
    if chosen and chosen not in known(own):
        settings.refuse_near("guidance.profile", chosen, dict.fromkeys(known(own), "a profile"))
        raise ConfigError(f"There is no profile {chosen!r}.", hint=f"There are: {', '.join(known(own))}.")
