"""What a person asks for when a rollout begins, and whether that can be. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from server.releases import days
from shared.errors import Refused

ERROR_SHARE = 0.1
MISSING_AFTER_S = 72 * 3600.0  # a device that is worn twice a week has its chance


@dataclass(frozen=True, slots=True)
class RolloutRequest:
    """What a person asks for: a version, and who shall get it."""

    version: str
    percent: int = 0
    devices: Sequence[str] = ()
    cohort: str = ""
    """"" = none"""
    error_share: float = ERROR_SHARE
    missing_after_s: float = MISSING_AFTER_S
    supervised: bool = False
    """The version is on trial, and the wearers of `devices` walk with a sighted companion."""
    companion: str = ""
    why: str = ""
    days_percent: int = 0
    """A/B: share of the wearer-days of `devices` and `cohort` on which they run it; 0 = every day."""
    day_begins_h: int = days.BEGINS_H

    def recipients(self) -> str:
        """Who gets it, for the log."""
        parts = [f"{self.days_percent} % of the wearer-days of"] if self.days_percent else []
        parts += [f"{self.percent} %"] if self.percent else []
        parts += [", ".join(sorted(set(self.devices)))] if self.devices else []
        return " and ".join([*parts, *([f"cohort {self.cohort}"] if self.cohort else [])])


def check_days(request: RolloutRequest) -> None:
    """What is compared by wearer-day goes to devices that are named. Raises: Refused."""
    if not request.days_percent:
        return
    if not (0 < request.days_percent < 100 and 0 <= request.day_begins_h <= 23):
        raise Refused("A share of wearer-days is 1 to 99 %, and a day begins at 0 to 23 h UTC.")
    if request.supervised or request.percent or not (request.devices or request.cohort):
        raise Refused(
            "What is compared by wearer-day goes to named devices or a cohort, and not to a share of all; a version on "
            "trial is not compared so.",
            hint="Use: --device NAME or --cohort NAME with --days.",
        )


def check_supervision(request: RolloutRequest, *, on_trial: bool) -> None:
    """A version on trial goes to named devices with a companion, and only such a version does. Raises: Refused."""
    version = request.version
    if not request.supervised:
        if on_trial:
            raise Refused(
                f"{version} is on trial: it has not shown on held-out walks that it may guide on its own.",
                hint=f"Why: waycue-server gate --explain {version}. {more_wearers(version)}",
            )
        return
    if not on_trial:
        raise Refused(f"{version} is not on trial: --supervised is for versions that are.", hint="Leave it out.")
    if not request.devices or request.percent or request.cohort:
        raise Refused(
            f"{version} is on trial: each wearer who tries it is named, not a cohort or a share of all.",
            hint=more_wearers(version),
        )
    if not request.companion:
        raise Refused(f"Nobody is named who walks along with {version}.", hint='Add: --companion "WHO"')


def more_wearers(version: str) -> str:
    """How wearers of a version on trial are named."""
    return (
        "Name the wearers who walk with a sighted companion: waycue-server rollout start "
        f'{version} --device NAME --supervised --companion "WHO".'
    )
