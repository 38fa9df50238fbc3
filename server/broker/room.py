"""How much the broker keeps for the server, reckoned from how many devices are enrolled, and whether that is enough.

Reckoned with room to grow, so that a device more changes nothing. A running server raises it where the broker's files
are its own (server.broker.files.raise_limits); it is never lowered but by `broker config`. Mosquitto takes it at its
start only: at a SIGHUP 2.0 keeps the older queues, whatever mosquitto.conf(5) says. So a configuration that is written
beside a running broker also names that process, and what it began with: that counts until the process has ended.

What the limits are good for is said in `shared.credit`, which grants devices no more than they hold. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from shared import credit

LEAST_DEVICES, STEP = 100, 100
LEAST_BYTES = 64 * 1024 * 1024
GREETING_BYTES = 2048  # a status, a first message or a wish, with what the broker remembers of it
OTHERS = 50  # files that a broker has open beside its devices' connections
_RECKONED = re.compile(r"^# Reckoned for (\d+) devices\b.*\n", re.MULTILINE)
_RUNNING = re.compile(
    r"^# Process (\d+-\d+) began with (\d+) messages and (\d+) bytes for (\d+) devices\b.*\n", re.MULTILINE
)
_MESSAGES = re.compile(r"^max_queued_messages (\d+)$", re.MULTILINE)
_BYTES = re.compile(r"^max_queued_bytes (\d+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class BrokerLimits:
    """What a broker keeps for one receiver, and for how many devices that is enough."""

    devices: int
    messages: int
    bytes: int

    def lines(self) -> str:
        """For mosquitto.conf."""
        return (
            f"# Reckoned for {self.devices} devices. A running server raises both when more are enrolled.\n"
            f"max_queued_messages {self.messages}\n"
            f"max_queued_bytes {self.bytes}"
        )


def limits_for(enrolled: int) -> BrokerLimits:
    """For so many enrolled devices and half as many again, at most as many as one receiver remembers."""
    devices = min(max(LEAST_DEVICES, -(-enrolled * 3 // (2 * STEP)) * STEP), credit.MAX_DEVICES)
    units = credit.QUEUE_UNITS + credit.STANDING_UNITS
    greetings = devices * credit.GREETINGS * GREETING_BYTES
    return BrokerLimits(devices, credit.queue_for(devices), max(LEAST_BYTES, units * credit.UNIT_BYTES + greetings))


def limits_in(conf: str) -> BrokerLimits | None:
    """Of a mosquitto.conf, of an older version too; None where it bounds no queue."""
    messages, size, devices = (_number(wanted, conf) for wanted in (_MESSAGES, _BYTES, _RECKONED))
    if not messages:
        return None
    return BrokerLimits(devices or credit.devices_for(messages), messages, size or LEAST_BYTES)


def limits_of(process: str, conf: str) -> BrokerLimits | None:
    """What a process runs with, as far as the configuration in its folder tells. process: "" = none is seen to run"""
    began = _RUNNING.search(conf)
    if began is None or began[1] != process:
        return limits_in(conf)
    return BrokerLimits(int(began[4]), int(began[2]), int(began[3]))


def noted(conf: str, process: str, before: BrokerLimits | None) -> str:
    """A new configuration beside a process that began with another one."""
    conf = _RUNNING.sub("", conf)
    if not process or before is None or limits_in(conf) == before:
        return conf
    began = f"{before.messages} messages and {before.bytes} bytes for {before.devices} devices"
    return _MESSAGES.sub(rf"# Process {process} began with {began}: restart it.\n\g<0>", conf)


def raised(conf: str, enrolled: int) -> str | None:
    """A mosquitto.conf with room for so many; None where it has that. What somebody raised by hand stays so high."""
    before, wanted = limits_in(conf), limits_for(enrolled)
    if before is None or enrolled <= before.devices or wanted.devices <= before.devices:
        return None
    after = BrokerLimits(wanted.devices, max(before.messages, wanted.messages), max(before.bytes, wanted.bytes))
    return _MESSAGES.sub(after.lines(), re.sub(_BYTES.pattern + "\n", "", _RECKONED.sub("", conf), flags=re.MULTILINE))


@dataclass(frozen=True, slots=True)
class BrokerRoom:
    """A broker beside the number of enrolled devices."""

    enrolled: int
    limits: BrokerLimits
    own: bool = False
    """Its files are the server's."""
    written: BrokerLimits | None = None
    """What it begins with when it is restarted."""
    open_files: int | None = None
    """The most that its process may have open, where that can be seen."""

    @property
    def trouble(self) -> tuple[str, str] | None:
        """(what is not enough, what to do); None where all is."""
        if self.enrolled > self.limits.devices:
            wanted = limits_for(self.enrolled)
            text = f"{self.enrolled} devices are enrolled, and its queue is for {self.limits.devices}"
            return f"{text}: what they send at once may be lost, and is sent again.", self._todo(wanted)
        if self.open_files is not None and self.enrolled + OTHERS > self.open_files:
            text = f"It may open {self.open_files} files, and {self.enrolled} devices are enrolled"
            return f"{text}: some cannot connect.", "Set LimitNOFILE= in its unit to 65536, and restart it."
        return None

    def _todo(self, wanted: BrokerLimits) -> str:
        if self.enrolled > credit.MAX_DEVICES:
            return f"One server remembers {credit.MAX_DEVICES}: enrol the others with a second one."
        restart = "systemctl restart waycue-broker. Devices are back within seconds, and nothing is lost."
        if self.written is not None and self.enrolled <= self.written.devices:
            return f"Its configuration has room for {self.written.devices}, once it is restarted: {restart}"
        if self.own:
            return f"A running server writes a larger one, or its log says why not; then: {restart}"
        much = f"{wanted.messages} messages and {wanted.bytes} bytes"
        return f"Have it keep {much} for a client, and say so: queued = {wanted.messages} under [broker]."


def _number(wanted: re.Pattern[str], conf: str) -> int:
    found = wanted.search(conf)
    return int(found[1]) if found else 0
