"""The set-up of an agent: when there is one, and how it is connected to the other parts."""

from __future__ import annotations

from collections.abc import Callable

from device.agent.parts import Parts
from device.setup.kinds import Enrolled, Say, Watched
from device.setup.runner import Owner, Setup, SetupPorts


def made(parts: Parts, restart: Callable[[], None], *, open_now: bool) -> Setup | None:
    """Not started. None = there is no live picture in which a code could be held. open_now: the wearer asked for it."""
    if parts.source is None or parts.is_replay:
        return None
    config, identity = parts.config, parts.admission.identity
    enrolled = None if identity is None else Enrolled(identity.device, identity.server)
    own = bool(config.broker.address or config.guidance.model)  # somebody with a terminal has set it up
    is_new = enrolled is None and not own and config.setup.at_start == "new"

    def say(line: Say) -> None:
        parts.guidance.tell(line.text, urgent=line.cut, about=line.about)

    def watched() -> Watched:
        online = parts.link is not None and parts.link.online
        guides = bool(parts.guidance.model_version) and parts.guidance.history.looks > 0
        return Watched(online, not parts.models.is_settled, guides)

    owner = Owner(parts.state_dir, parts.admission.floor, enrolled, config.device.name)
    ports = SetupPorts(say, watched, restart, parts.clock, config.voice.words_per_minute)
    return Setup(owner, ports, looks=open_now or is_new)
