"""The section [space] of the server's settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

Gigabytes = Annotated[float, Meta(ge=0, le=1_000_000)]


@dataclass(frozen=True, slots=True)
class SpaceSettings:
    """How much space moments may take. What is worth least is announced, and deleted when its day has come and the
    space is needed then. Without a bound nothing is deleted for space."""

    keep_free_gb: Gigabytes = 0.0
    """So much of the disk stays free, in gigabytes; more than `limits.free_mb`, at which devices have to wait. 0 = no
    bound."""
    keep_free_percent: Annotated[float, Meta(ge=0, le=90)] = 0.0
    """The same as a share of the disk; the larger of the two counts. 0 = no bound."""
    dataset_most_gb: Gigabytes = 0.0
    """Most gigabytes of pictures, sounds and clips. 0 = no bound."""
    announce_days: Annotated[int, Meta(ge=1, le=365)] = 7
    """Nothing is deleted for space that was not announced for so many days."""
    unreviewed: bool = False
    """Moments that nobody has reviewed may be deleted for space, too, announced like the others, and before those that
    people confirmed. Without it they stay, and when the disk is full devices keep what they have and wait."""
    warn_days: Annotated[int, Meta(ge=0, le=365)] = 14
    """Admins are told when the disk will be full within so many days, at the rate of the last four weeks."""

    @property
    def bounded(self) -> bool:
        """Whether there is any bound."""
        return bool(self.keep_free_gb or self.keep_free_percent or self.dataset_most_gb)
