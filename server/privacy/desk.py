"""What the page needs to write down consent, to delete and to blur: each a call, from values that the server gives."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from server.consent import register
from server.consent.register import ConsentAnswer
from server.consent.settings import ConsentSettings
from server.consent.terms import Consent, Consents
from server.dataset.sample_row import SampleRow
from server.privacy import counting, deletion, making_room, plans, retention
from server.privacy.deletion import DeletionPort
from server.privacy.plans import DeletionKind, DeletionPlan, PlanCounts
from server.privacy.proof import Proof
from server.privacy.retention import RetentionRound

if TYPE_CHECKING:
    from server.privacy.blurring import PeopleFinder
    from server.privacy.replacing import BlurOutcome


@dataclass(frozen=True, slots=True)
class WearerConsent:
    """One wearer, as the page lists them."""

    name: str
    moments: int
    consent: Consent
    asked: bool


class PrivacyDesk:
    """Safe from any thread."""

    def __init__(
        self,
        port: DeletionPort,
        settings: ConsentSettings,
        finder: Callable[[], PeopleFinder],
        counted: Callable[[DeletionKind, str], PlanCounts | None] | None = None,
    ) -> None:
        """finder: makes what people are found with; called at the first blur, because networks are loaded
        counted: what the deletion of a walk or a wearer comes to, None while it is counted; without, it is counted
        while the page waits"""
        self._counted = counted
        self._port, self._settings, self._finder = port, settings, finder
        self._made: PeopleFinder | None = None

    def consents(self) -> Consents:
        """As they stand now."""
        return register.read(self._port.store)

    def wearers(self) -> list[WearerConsent]:
        """Everybody of whom there is a moment or an answer, by name."""
        consents = self.consents()
        return [
            WearerConsent(name, count, consents.of(name), consents.asked(name) is not None)
            for name, count in counting.wearers(self._port.store).items()
        ]

    def history(self, wearer: str) -> list[ConsentAnswer]:
        """All that was written down of a wearer, the newest first."""
        return register.history(self._port.store, wearer)[::-1]

    def say(self, wearer: str, consent: Consent, *, said_by: str, how: str) -> None:
        """Write down what a wearer agreed to. Raises: Refused."""
        answer = ConsentAnswer(wearer, self._port.clock.utc_s(), said_by, how, consent)
        register.say(self._port.store, answer)

    def announced(self) -> RetentionRound:
        """What will be deleted because of its age."""
        return retention.look(self._port.store, self._settings, self._port.clock.utc_s())

    def room(self, wearers: Collection[str]) -> list[str]:
        """What may be deleted of these to make room, in sentences."""
        return making_room.announced_in_words(making_room.standing(self._port.store), wearers)

    def plan(self, what: DeletionKind, name: str) -> DeletionPlan:
        """What a deletion would take. Raises: Refused where there is no such thing."""
        with self._port.store.reading() as connection:
            if what is DeletionKind.MOMENT:
                plan = plans.of_moments(connection, [name])
            elif what is DeletionKind.WALK:
                plan = plans.of_walk(connection, name)
            else:
                plan = plans.of_wearer(connection, name)
        return deletion.with_settings(replace(plan, name=name), self._settings)

    def preview(self, what: DeletionKind, name: str) -> list[str] | None:
        """What a deletion would take, in sentences; None while it is counted. Raises: Refused where there is no such
        thing."""
        if what is DeletionKind.MOMENT or self._counted is None:
            return plans.in_words(self.plan(what, name))
        counts = self._counted(what, name)
        if counts is None:
            return None
        if not counts.there:
            raise plans.unknown(what, name)
        empty = DeletionPlan(what=what, name=name, moments=(), records={}, files={})
        return plans.in_words(deletion.with_settings(empty, self._settings), counts)

    def delete(self, plan: DeletionPlan, *, by: str) -> Proof:
        """Carry it out. Raises: OSError, DatasetError; it is then gone on with later."""
        return deletion.carry_out(self._port, plan, by=by)

    def proofs(self) -> list[Proof]:
        """Of all deletions, the newest first."""
        return deletion.all_proofs(self._port.store)

    def proof(self, number: int) -> Proof | None:
        """Of one deletion."""
        return deletion.proof_of(self._port.store, number)

    def blur(self, row: SampleRow, *, by: str, whole: bool) -> BlurOutcome:
        """Blur a moment. Raises: Refused, DatasetError, MediaError, ConfigError, OSError."""
        from server.privacy import replacing

        if self._made is None:
            self._made = self._finder()
        return replacing.blur(self._port, row.sample_id, self._made, self._settings, by=by, whole=whole)
