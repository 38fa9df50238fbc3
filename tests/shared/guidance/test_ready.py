"""What is announced once a model sees something, and what is not true any more by then."""

from __future__ import annotations

from device.guidance.inbox import Inbox
from device.guidance.loop import READY, UPDATED
from shared.clock import ManualClock
from shared.guidance import events
from shared.guidance.turn import GuidanceState, turn
from shared.policy import PolicySettings, StateChange
from tests.shared.guidance.test_table_words import EyesAlone

FIRST = (StateChange(READY, about="model", sees=True), StateChange("This model sees curbs.", about="what it sees"))
SECOND = StateChange(UPDATED, about="model", sees=True)


def changed(*ready: StateChange, announce: StateChange | None = None) -> events.ModelChanged:
    return events.ModelChanged(EyesAlone(), PolicySettings(), announce, ready)


def test_a_model_that_took_over_before_the_first_look_is_not_introduced_as_the_one_before_it() -> None:
    state, _ = turn(GuidanceState(PolicySettings()), changed(*FIRST), 0.0)
    state, _ = turn(state, changed(announce=SECOND), 1.0)
    assert state.ready == FIRST[:1]


def test_nor_is_one_that_took_over_before_the_other_was_in_use() -> None:
    inbox = Inbox(ManualClock(), looks_per_s=4.0, wait_for_looks=False, hurry=lambda: False)
    inbox.swap(changed(*FIRST))
    inbox.swap(changed(announce=SECOND))
    delivery = inbox.take(0.0)
    assert delivery is not None
    assert delivery.swap is not None
    assert delivery.swap.ready == FIRST[:1]
