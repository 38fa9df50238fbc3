"""How the page is reached: where it listens, whether with TLS, under which names and addresses. Pure but for `urls`."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from server.identity import announced
from server.identity.announced import ANYWHERE
from shared import settings
from shared.errors import ConfigError

TlsChoice = Literal["auto", "on", "off"]


@dataclass(frozen=True, slots=True)
class PageReach:
    """Where the page is and who can reach it."""

    host: str
    port: int
    tls: bool
    proxies: tuple[str, ...]
    """Addresses of the proxies whose word about their clients is believed."""
    names: tuple[str, ...]
    """Names besides the loopback ones under which it answers."""
    url: str
    """Where people find it, as the settings say it; "" = they do not."""

    @property
    def alone(self) -> bool:
        """Whether only this machine can reach it: it may then be used before there is an account."""
        return settings.is_loopback(self.host) and not self.proxies

    @property
    def hosts(self) -> tuple[str, ...]:
        """What a request's Host may say besides the loopback names."""
        if self.host in ANYWHERE:
            own = socket.gethostname().lower()
            return (*self.names, *ANYWHERE, own, f"{own.partition('.')[0]}.local")
        return self.names if settings.is_loopback(self.host) else (*self.names, self.host)

    def urls(self) -> tuple[str, ...]:
        """Addresses under which it works, the best first; never 0.0.0.0."""
        if self.url:
            return (self.url,)
        if self.host in ANYWHERE:
            found = announced.addresses_of(self.host) or ("127.0.0.1",)
            found = tuple(one for one in found if one not in ANYWHERE) or (socket.gethostname(),)
        else:
            found = (self.host,)
        scheme = "https" if self.tls else "http"
        return tuple(f"{scheme}://{f'[{one}]' if ':' in one else one}:{self.port}" for one in found)

    def certificate_hosts(self) -> tuple[str, ...]:
        """What the page's certificate is for: names and addresses, as they are now."""
        named = [host for host in self.hosts if host not in ANYWHERE]
        reached = [urlsplit(url).hostname or "" for url in self.urls()]
        return tuple(dict.fromkeys(host for host in (*named, *reached) if host))


def reach_of(address: tuple[str, int], *, tls: TlsChoice, proxies: str, names: str, url: str) -> PageReach:
    """From the settings. Raises: ConfigError where they do not go together."""
    host, port = address
    behind, local = _proxies(proxies), settings.is_loopback(host)
    if tls == "off" and not local and not behind:
        raise ConfigError(
            f"The review page at {host} without TLS would send passwords in the clear.",
            hint="Leave web.tls at auto, or name the proxy before it in web.proxies.",
        )
    secure = tls == "on" or (tls == "auto" and not local and not behind)
    known = tuple(dict.fromkeys((*_listed(names), *_named_in(url))))
    return PageReach(host, port, secure, behind, known, url.rstrip("/"))


def _proxies(text: str) -> tuple[str, ...]:
    found = _listed(text)
    for one in found:
        try:
            ipaddress.ip_network(one, strict=False)
        except ValueError:
            raise ConfigError(
                f"web.proxies: {one!r} is not an address.", hint="Write for example 127.0.0.1 or 10.0.0.0/24."
            ) from None
    return found


def _named_in(url: str) -> tuple[str, ...]:
    """The name of web.url, if it has one. Raises: ConfigError where it is no address of a server."""
    if not url:
        return ()
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
        raise ConfigError(f"web.url {url!r} is not an address.", hint="Write for example https://waycue.example.org.")
    return (parts.hostname,)


def _listed(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (one.strip() for one in text.split(","))))
