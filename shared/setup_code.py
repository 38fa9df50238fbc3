"""What the QR code of a first use says: which server, which name, the claim code, and how to join the Wi-Fi.

    waycue:enrol?server=HOST:PORT&device=NAME&code=CODE[&ssid=NAME&auth=psk|sae|open&key=PASSWORD&hidden=1]

Each value is percent-encoded. A Wi-Fi code as routers and telephones show it (`WIFI:T:WPA;S:…;P:…;;`) is read, too. The
password is in no `repr` and in no message of an error.

source of the latter: ZXing, "Barcode Contents", Wi-Fi network config; WPA3 Specification 3.0, section 7.1
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import parse_qs, quote, urlencode

from shared import claim_code, settings, topics
from shared.enrolment import DEFAULT_PORT
from shared.errors import ConfigError

HEAD = "waycue:enrol"
WIFI_HEAD = "wifi:"
MOST_CHARACTERS = 1000
_FIELD = re.compile(r"([A-Za-z]+):((?:\\.|[^\\;])*);", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_HEX_KEY = re.compile(r"[0-9A-Fa-f]{64}\Z")


class WifiSecurity(StrEnum):
    """How a network is locked."""

    OPEN = "open"
    PSK = "psk"
    """A password: WPA2 and WPA3."""
    SAE = "sae"
    """A password: WPA3 alone."""


class UnusableNetwork(ConfigError):
    """A Wi-Fi that is not joined: WEP, a company's with user names, a password that cannot be one."""


@dataclass(frozen=True, slots=True)
class WifiNetwork:
    """A Wi-Fi to join. Raises: UnusableNetwork."""

    ssid: str
    """1 to 32 bytes of UTF-8."""
    security: WifiSecurity = WifiSecurity.PSK
    password: str = field(default="", repr=False)
    hidden: bool = False
    """It does not say its name."""

    def __post_init__(self) -> None:
        name = self.ssid.encode("utf-8", "replace")
        if not 1 <= len(name) <= 32 or any(unicodedata.category(sign) in ("Cc", "Cs") for sign in self.ssid):
            raise UnusableNetwork("The name of the Wi-Fi is not 1 to 32 bytes of text.", hint="Look it up once more.")
        if not _is_password(self.password, self.security):
            raise UnusableNetwork(
                f"That cannot be the password of {self.ssid}.",
                hint="WPA2 and WPA3 have 8 to 63 characters of ASCII; an open network has none.",
            )


def _is_password(text: str, security: WifiSecurity) -> bool:
    if security is WifiSecurity.OPEN:
        return not text
    plain = text.isascii() and text.isprintable()
    if security is WifiSecurity.SAE:
        return plain and 1 <= len(text) <= 128
    return plain and (8 <= len(text) <= 63 or bool(_HEX_KEY.match(text)))


@dataclass(frozen=True, slots=True)
class SetupCode:
    """Everything that a new device needs."""

    server: str
    """HOST:PORT where the claim code was made."""
    device: str
    """The name that it was made for."""
    code: str = field(repr=False)
    """The claim code."""
    wifi: WifiNetwork | None = None
    """None = the device is in the network already, or by cable."""


def text_of(setup: SetupCode) -> str:
    """What the QR code holds."""
    values = {"server": setup.server, "device": setup.device, "code": setup.code}
    if setup.wifi is not None:
        values |= {"ssid": setup.wifi.ssid, "auth": setup.wifi.security.value}
        values |= {"key": setup.wifi.password} if setup.wifi.password else {}
        values |= {"hidden": "1"} if setup.wifi.hidden else {}
    return f"{HEAD}?" + urlencode(values, quote_via=quote, safe=":")


def parse(text: str) -> SetupCode | WifiNetwork:
    """The text of a QR code. Raises: UnusableNetwork; ConfigError for anything that is not ours, or damaged."""
    text = text.strip()
    if len(text) < MOST_CHARACTERS and text[: len(WIFI_HEAD)].lower() == WIFI_HEAD:
        return _wifi_of(text[len(WIFI_HEAD) :])
    return parse_enrolment(text)


def parse_enrolment(text: str) -> SetupCode:
    """As `parse`, for what has a claim code in it."""
    head, _, query = text.strip().partition("?")
    values = parse_qs(query) if head.lower() == HEAD and len(text) < MOST_CHARACTERS else {}
    names = ("server", "device", "code")
    if any(len(values.get(name, [])) != 1 for name in names) or any(len(value) != 1 for value in values.values()):
        raise ConfigError("This is not the text of a waycue QR code.", hint=f"It begins with {HEAD}?server=")
    server, device, code = (values[name][0] for name in names)
    claim_code.key_of(code)
    settings.address(server, what="server's address", default_port=DEFAULT_PORT)
    if not topics.DEVICE_NAME.match(device):
        raise ConfigError("The name in the code is no name of a device.", hint="Let another code be made.")
    return SetupCode(server, device, code, _wifi_in({name: value[0] for name, value in values.items()}))


def _wifi_in(values: dict[str, str]) -> WifiNetwork | None:
    if "ssid" not in values:
        return None
    try:
        security = WifiSecurity(values.get("auth", WifiSecurity.PSK))
    except ValueError:
        raise UnusableNetwork("The code is for a kind of Wi-Fi that is not known here.") from None
    return WifiNetwork(values["ssid"], security, values.get("key", ""), values.get("hidden") == "1")


_KINDS = {
    **dict.fromkeys(("", "NOPASS"), WifiSecurity.OPEN),
    **dict.fromkeys(("WPA", "WPA2", "WPA-PSK", "WPA2-PSK", "WPA/WPA2", "WPA2/WPA3"), WifiSecurity.PSK),
    **dict.fromkeys(("SAE", "WPA3", "WPA3-SAE"), WifiSecurity.SAE),
}
"""By T: of a Wi-Fi code, as the specifications and as routers write it. WEP and companies' networks are not joined."""


def _wifi_of(text: str) -> WifiNetwork:
    values = {name.upper(): _plain(value) for name, value in _FIELD.findall(text if text.endswith(";") else text + ";")}
    kind = values.get("T", "").upper()
    if "S" not in values:
        raise ConfigError("This Wi-Fi code names no network.", hint="Let it be made again.")
    if kind not in _KINDS:
        raise UnusableNetwork("A Wi-Fi with WEP, or with a user name, is not joined.", hint="Use WPA2 or WPA3.")
    security = _KINDS[kind]
    password = "" if security is WifiSecurity.OPEN else values.get("P", "")
    return WifiNetwork(values["S"], security, password, values.get("H", "").lower() == "true")


def _plain(value: str) -> str:
    """Without the escapes, and without the quotes that some writers put around it."""
    quoted = len(value) > 1 and value[0] == value[-1] == '"'
    return _ESCAPED.sub(r"\1", value[1:-1] if quoted else value)
