"""The section `[homeassistant]` of the server's configuration."""

from __future__ import annotations

from dataclasses import dataclass

PREFIX = "homeassistant"


@dataclass(frozen=True, slots=True)
class HomeAssistantSection:
    """Devices shown in Home Assistant, by MQTT discovery."""

    broker: str = ""
    """HOST:PORT of Home Assistant's own broker. Empty = nothing is published."""
    user: str = ""
    """User name at that broker. Empty = none."""
    password_file: str = ""
    """File with the password of that user. Empty = none."""
    tls: bool = False
    """TLS, with the certificates that this machine trusts. Without it, a password is sent on this machine only."""
    prefix: str = PREFIX
    """Topic below which Home Assistant looks for devices."""
