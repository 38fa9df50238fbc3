"""What a hot or slow board gives up, carried out: clips by the recorder, listening to corrections; wording and looks by
guidance."""

from __future__ import annotations

import logging

from device.agent.parts import Parts
from device.guidance.shedding import ABOUT_SPEED, BoardLoad, Shed, ShedRules, ShedState, step
from shared.background import Background

logger = logging.getLogger(__name__)

EVERY_S = 1.0


class Shedding:
    """Looks once a second at how hot the board is and how long its looks take. `start` it, `close` it."""

    def __init__(self, parts: Parts) -> None:
        sync, guidance = parts.config.sync, parts.config.guidance
        self._parts = parts
        self._rules = ShedRules(sync.hot_c, sync.too_hot_c, guidance.looks_per_s)
        self._state = ShedState.of(self._rules)
        self._rounds = Background.every(EVERY_S, self.look, name="shedding")

    @property
    def level(self) -> Shed:
        return self._state.level

    def start(self) -> None:
        self._rounds.start()

    def close(self) -> None:
        self._rounds.close()

    def look(self) -> None:
        """One round."""
        parts, before = self._parts, self._state
        heat = parts.power.heat
        load = BoardLoad(heat.heat_c, heat.slowed, parts.guidance.typical_look_s)
        self._state, text = step(before, load, parts.clock.monotonic_s(), self._rules)
        if _effects(self._state) != _effects(before):
            self._carry_out()
        if text is not None:
            parts.guidance.tell(text, about=ABOUT_SPEED)

    def _carry_out(self) -> None:
        state = self._state
        logger.warning("Given up: %s; %.2g looks a second", state.level.name.lower(), state.looks_per_s)
        self._parts.recorder.clips = state.level < Shed.CLIPS
        self._parts.own_words.allow(state.level < Shed.CLIPS)
        self._parts.guidance.pace(state.looks_per_s, plain=state.level >= Shed.WORDING, first_look=state.first_look)


def _effects(state: ShedState) -> tuple[Shed, float, bool]:
    return state.level, state.looks_per_s, state.first_look
