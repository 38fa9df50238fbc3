"""Sending by apprise. It blocks for as long as the other side takes, within its own timeouts: call it on a thread that
nothing waits for."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING

from shared.errors import ConfigError

if TYPE_CHECKING:
    from apprise import Apprise

TITLE = "waycue"
TRANSPORT_LOGGERS = ("apprise", "requests_oauthlib", "urllib3", "requests")


def check(urls: Iterable[str]) -> None:
    """Raises: ConfigError naming the service of an address that apprise cannot read, and nothing else of it."""
    for url in urls:
        if not _apprise().instantiate(url, suppress_exceptions=True):
            raise ConfigError(
                f"The address of {service(url)} cannot be read.",
                hint='Write it as apprise does: "ntfys://ntfy.sh/TOPIC", "mailtos://USER:PASSWORD@HOST?to=ADDRESS".',
            )


def service(url: str) -> str:
    """What kind of address it is, for a log or a page: "ntfys". The rest is a secret."""
    scheme = url.partition("://")[0].lower()
    return scheme if scheme.isalnum() and "://" in url and len(scheme) <= 20 else "an unknown service"


def send(urls: Sequence[str], lines: Sequence[str]) -> tuple[str, ...]:
    """Send one message to every address. Returns the services that did not take it; none = all did."""
    failed = []
    for url in urls:
        one = _apprise()
        if not one.add(url) or not one.notify(title=TITLE, body="\n".join(lines)):
            failed.append(service(url))
    return tuple(failed)


def _apprise() -> Apprise:
    library = _library()
    made: Apprise = library.Apprise(asset=library.AppriseAsset(app_id="waycue", app_desc="waycue", app_url=""))
    return made


@cache
def _library() -> ModuleType:
    """apprise, imported when the first message goes out (it has two hundred services), and silent: what it and its
    transports log names addresses."""
    import apprise

    for name in TRANSPORT_LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    return apprise
