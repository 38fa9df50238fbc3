"""The settings of the MQTT broker."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from shared import settings
from shared.errors import ConfigError

FOLDER = "broker"


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """The MQTT broker that devices reach."""

    address: str = "127.0.0.1:8883"
    """HOST:PORT of the broker, as this server reaches it."""
    tls: bool = True
    """Mutual TLS, and only enrolled devices. Off: plain TCP, which is accepted for a broker on this machine only."""
    access: Literal["mosquitto", "own"] = "mosquitto"
    """mosquitto: the server keeps the broker's access rules (dynamic-security plugin). own: the broker has its own."""
    folder: str = ""
    """Folder that `broker config` wrote, for revocations and renewed certificates. Empty = `broker` in the home."""
    reload: str = ""
    """Command that makes the broker read its certificates again. Empty = SIGHUP to the process of its pid file."""

    queued: Annotated[int, Meta(ge=0, le=10_000_000)] = 0
    """Messages that another broker keeps for a client, so that devices are granted no more. 0 = what `folder` says, or
    1,000."""

    def host_port(self) -> tuple[str, int]:
        """Raises: ConfigError where `address` is none, or plain TCP would leave this machine."""
        default_port = settings.DEFAULT_TLS_PORT if self.tls else settings.DEFAULT_PORT
        host, port = settings.address(self.address, default_port=default_port)
        if not self.tls and not settings.is_loopback(host):
            raise ConfigError(
                f"The broker {host} would be spoken to without TLS.",
                hint="Plain TCP is for a broker on this machine (127.0.0.1); leave out --plain and broker.tls = false.",
            )
        return host, port

    def files(self, home: Path) -> Path:
        """The folder of the broker's files."""
        return Path(self.folder).expanduser() if self.folder else home / FOLDER
