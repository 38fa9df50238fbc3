"""The section `[telling]` of the server's configuration."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TellingSection:
    """Who is told in time is in `telling.toml`; this is what is the same for all."""

    link: str = ""
    """Address of the review page as people reach it, put under each message. Empty = none."""
    push_services: tuple[str, ...] = (
        "https://fcm.googleapis.com",
        "https://*.push.services.mozilla.com",
        "https://*.push.apple.com",
        "https://*.notify.windows.com",
    )
    """Where messages by web push may be sent: the services of the browsers' makers. * = one or more names before it. A
    browser that names another place is not taken. [] = there is no web push."""
    push_contact: str = ""
    """Whom such a service writes to about this server: "mailto:ADDRESS" or an https address. Empty = `link`. Apple's
    service wants one that is there."""
