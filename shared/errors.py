"""The one tree of errors.

    WaycueError                 a person can act on it: the message says what failed, on what, and what to do next
    ├── Transient               trying again later may work: network away, broker busy, disk full for now
    │   └── Unreachable         nobody answered at an address
    └── Permanent               trying again changes nothing
        ├── ConfigError         a setting is missing or wrong
        ├── MediaError          a file or stream is not what it should be
        ├── MessageError        a message from the network is not ours, or breaks its own rules
        ├── BundleError         a model bundle is incomplete, altered or not for this device
        ├── DatasetError        the dataset on disk contradicts itself
        └── Refused             the other side said no, and why

Who retries catches Transient: device.sync and device.updates on the device, server.broker and the transcription on
the server. A Permanent error ends the attempt and is reported. One exception: the device's link goes on asking a broker
that refused it, once in minutes, because a person may let it in meanwhile.
"""

from __future__ import annotations


class WaycueError(Exception):
    """Base of all errors that waycue raises on purpose. `hint` says what to do next."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        text = super().__str__()
        return f"{text} {self.hint}" if self.hint else text


class Transient(WaycueError):
    """Trying again later may work."""


class Unreachable(Transient):
    """Nobody answered at an address."""


class Permanent(WaycueError):
    """Trying again changes nothing."""


class ConfigError(Permanent):
    """A setting is missing or wrong."""


class InUse(ConfigError):
    """Another process has it. A person who started two reads that; a service may find it free a moment later."""


class MediaError(Permanent):
    """A file or stream is not the picture, sound or video it should be."""


class MessageError(Permanent):
    """A message from the network is not ours, or breaks its own rules."""


class BundleError(Permanent):
    """A model bundle is incomplete, altered, or not for this device."""


class DatasetError(Permanent):
    """The dataset on disk contradicts itself."""


class Refused(Permanent):
    """The other side said no, and why."""
