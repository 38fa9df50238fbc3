"""What of an agent the sentinel and systemd's watchdog are told, and who keeps the sentinel running."""

from __future__ import annotations

import logging
from collections.abc import Callable

from device.agent.parts import Parts
from device.health import announcements
from device.health.feed import FeedPorts, ProgressFeed
from device.health.sentinel_keeper import SentinelKeeper, board_folder
from device.sentinel.board import NAME, Board
from device.sentinel.settings import SentinelSettings
from device.voice.espeak import Samples
from device.voice.sinks import softened
from device.voice.voice import WARNING_LEAST
from shared import policy

logger = logging.getLogger(__name__)

ABOUT_WATCH = "watch"


def made(
    parts: Parts, progress: Callable[[], object], ready: Callable[[], bool]
) -> tuple[ProgressFeed, SentinelKeeper | None]:
    """(feed, keeper), not started. Without a sentinel by the settings, or without memory for a board, the feed is for
    the watchdog alone."""
    board = _board(parts)
    guidance = parts.guidance
    ports = FeedPorts(
        progress=progress,
        live_s=lambda: guidance.live_s,
        sees=lambda: guidance.sees,
        voice_works=lambda: parts.voice.works,
        look_every_s=lambda: guidance.look_every_s,
        back=lambda: guidance.tell(policy.RESUMED, about=policy.GUIDING, sees=True),
        ready=ready,
    )
    feed = ProgressFeed(ports, parts.spoken_times, board, clock=parts.clock)
    return feed, None if board is None else _keeper(parts, board)


def settings(parts: Parts) -> SentinelSettings:
    """As the sentinel reads them by itself where it is a service."""
    config = parts.config
    own = config.sentinel
    return SentinelSettings(
        own.when,
        own.output,
        own.heartbeat_every_s,
        voice_output=config.voice.output,
        speech=config.voice.speech,
        source=config.capture.source,
        pace=config.capture.pace,
        server=config.voice.server,
        motors=config.tactile.motors,
    )


def _board(parts: Parts) -> Board | None:
    if not settings(parts).on:
        return None
    try:
        return Board(board_folder(parts.state_dir) / NAME)
    except OSError as error:
        logger.error("There is no sentinel: %s", error)
        parts.guidance.tell(announcements.WATCH_OFF, about=ABOUT_WATCH)
        return None


def _keeper(parts: Parts, board: Board) -> SentinelKeeper:
    voice, chosen = parts.config.voice, settings(parts)

    def render(text: str) -> Samples:
        return softened(parts.phrases.get(text, voice.words_per_minute), max(voice.volume, WARNING_LEAST))

    options = ["--output", chosen.output or chosen.voice_output]
    options += ["--heartbeat-every-s", str(chosen.heartbeat_every_s)]
    keeper = SentinelKeeper(
        board,
        state_dir=parts.state_dir,
        options=tuple(options),
        render=render,
        announce=lambda text: parts.guidance.tell(text, about=ABOUT_WATCH),
        clock=parts.clock,
    )
    keeper.output = lambda: None if parts.speakers is None else parts.speakers.environ
    return keeper
