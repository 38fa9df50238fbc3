"""The settings of who may come in: [access] in waycue.toml."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta


@dataclass(frozen=True, slots=True)
class AccessSettings:
    """Who may come in, and for how long."""

    idle_days: Annotated[float, Meta(gt=0, le=365)] = 7.0
    """A browser that asked for nothing for so long is logged out."""
    login_days: Annotated[float, Meta(gt=0, le=365)] = 30.0
    """A log-in ends after so long in any case."""
    audit_days: Annotated[float, Meta(ge=1, le=3650)] = 90.0
    """How long it is kept who looked at what."""
    provider: str = ""
    """Address of an OpenID Connect provider (its issuer) with which people may log in, instead of a password. Empty =
    none."""
    provider_name: str = "your organisation"
    """What the button for it says: "Log in with …"."""
    client_id: str = ""
    """Under which the provider knows this server."""
    client_secret_file: str = ""
    """File with the secret that the provider gave for it, readable by the server alone."""
