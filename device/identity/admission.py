"""How this device comes in at its server: under which name, at which broker, with what TLS, and whom it believes.

Rules kept here, and no setting changes them:

1. With an identity the device speaks mutual TLS only, under the identity's name, and takes signed releases only.
2. Without one it connects to a broker on its own machine only (demonstrations, tests): plain TCP to anywhere else would
   give pictures of a wearer's walk to whoever listens.
3. An identity that is damaged ends the link and never the walk: `trouble` says what to do.
"""

from __future__ import annotations

import json
import logging
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device import config as device_config
from device.config import Config
from device.identity import identity as identities
from device.identity.identity import Identity
from device.identity.renew import Renewal
from device.sync.link import Link
from device.updates.tuf_client import Trust
from shared import settings, topics
from shared.clock import Clock
from shared.errors import ConfigError
from shared.floor import ClockFloor

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Admission:
    """floor: the device's one clock floor. identity, context: None = plain. address: "" = no server."""

    device: str
    address: str
    floor: ClockFloor
    identity: Identity | None = None
    context: ssl.SSLContext | None = None
    trouble: str = ""

    @classmethod
    def of(cls, config: Config, state_dir: Path, clock: Clock) -> Admission:
        """Raises: ConfigError for settings that contradict the rules or the identity."""
        floor = ClockFloor(state_dir, clock)
        try:
            identity = Identity.open(state_dir, floor=floor)
            context = None if identity is None else identity.context()
        except (ConfigError, OSError) as error:
            logger.error("No connection to the server: %s", error)
            return cls(name_left(state_dir) or device_config.device_name(config), "", floor, trouble=str(error))
        if identity is None:
            return cls(device_config.device_name(config), _plain_address(config), floor)
        if config.device.name not in ("", identity.device):
            raise ConfigError(
                f"device.name is {config.device.name!r}, but this device is enrolled as {identity.device!r}.",
                hint="Leave the setting out, or enrol under the other name: waycue-device enroll.",
            )
        return cls(
            identity.device, config.broker.address or identity.broker, floor, identity, context, _ended(identity)
        )

    @property
    def place(self) -> tuple[str, int]:
        """(host, port) of the broker."""
        port = settings.DEFAULT_PORT if self.context is None else settings.DEFAULT_TLS_PORT
        return settings.address(self.address, default_port=port)

    def trust(self, state_dir: Path) -> Trust | None:
        """What proves that a release is our server's; None without an identity, over a broker on this machine."""
        return None if self.identity is None else Trust(state_dir / "trust", self.identity.root_json, self.floor)

    def renewal(self, link: Link, state_dir: Path, clock: Clock) -> Renewal | None:
        """What keeps the certificate from ending, over this link (before it starts); None where there is none."""
        if self.identity is None or self.context is None:
            return None
        renewal = Renewal(state_dir, self.identity, self.context, publish=link.publish, clock=clock)
        link.on("certificate", renewal.on_certificate)
        return renewal


def _plain_address(config: Config) -> str:
    address = config.broker.address
    if address and not settings.is_loopback(settings.address(address)[0]):
        raise ConfigError(
            f"This device is not enrolled, and the broker {address} is another machine.",
            hint="Run `waycue-server devices add NAME` there, and here what it prints: waycue-device enroll …",
        )
    return address


def _ended(identity: Identity) -> str:
    if not identity.ended:
        return ""
    return f"The certificate of {identity.device} has ended: the broker will not let it in. {identities.AGAIN}"


def name_left(state_dir: Path) -> str:
    """The enrolled name, where that much of a damaged identity can be read: records must not change their owner."""
    try:
        enrolment: Any = json.loads((state_dir / identities.FOLDER / identities.ENROLMENT).read_bytes())
        name = str(enrolment["device"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""
    return name if topics.DEVICE_NAME.match(name) else ""
