"""Models that learnt from what is deleted: named, and where the settings say so, retired."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Protocol

from server.database.store import Store
from server.privacy.plans import DeletionKind, DeletionPlan
from server.releases import wearers
from server.releases.registry import CHAMPION, Registry
from server.releases.rollouts import Rollouts
from shared.errors import BundleError, Refused, WaycueError

WHY = "it learnt from moments that were deleted"


class HomePort(Protocol):
    """What is used of a deletion's port."""

    @property
    def store(self) -> Store: ...
    @property
    def home(self) -> object: ...


def affected(port: HomePort, plan: DeletionPlan) -> dict[str, int]:
    """Version → how many of these moments it learnt from; -1 where what taught it cannot be read."""
    wanted, found = frozenset(plan.about), dict[str, int]()
    registry = Registry(port.store.home, store=port.store)
    for model in registry.list():
        try:
            learnt = {row.partition("#")[0] for row in registry.taught_by(model.version)} & wanted
            count = len(learnt)
        except (BundleError, OSError, ValueError):
            count = -1
        if count:
            found[model.version] = count
    return found


def retire(port: HomePort, found: Mapping[str, int]) -> tuple[str, ...]:
    """Take every role from these versions, for good. Returns those that have none any more. Raises: OSError."""
    registry, retired = Registry(port.store.home, store=port.store), list[str]()
    for version in found:
        if registry.champion() == version and not _replaced(registry, found):
            continue
        with suppress(Refused):  # none is running
            Rollouts(registry).halt(version, why=WHY)
        registry.retire(version, WHY)
        retired.append(version)
    return tuple(retired)


def _replaced(registry: Registry, found: Mapping[str, int]) -> bool:
    """Whether the newest champion before that did not learn from it leads again."""
    before = [change.old for change in reversed(registry.log()) if change.name == CHAMPION and change.old]
    for version in dict.fromkeys(before):
        if version in found:
            continue
        try:
            registry.promote(version, WHY)
        except WaycueError:  # on trial since, damaged, or not there any more
            continue
        return True
    return False


def withdraw_adapter(port: HomePort, plan: DeletionPlan) -> None:
    """Delete the adapter of a wearer who is deleted."""
    if plan.what is DeletionKind.WEARER:
        try:
            wearers.withdraw(Registry(port.store.home, store=port.store), plan.name, "the wearer was deleted")
        except Refused:  # there is none
            return


def left(port: HomePort, found: Mapping[str, int], retired: Iterable[str]) -> list[str]:
    """What these models still have of it, in words."""
    champion, gone = Registry(port.store.home, store=port.store).champion(), set(retired)
    lines = []
    for version, count in found.items():
        of = f"learnt from {count} of them" if count > 0 else "may have learnt from them: its list cannot be read"
        state = " and is retired" if version in gone else " and is in use" if version == champion else ""
        lines.append(f"model {version} {of}{state}; its golden pictures may show some, scaled down")
    return lines
