"""The section `[metrics]` of the server's configuration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shared.errors import ConfigError

TOKEN_LEAST = 16


@dataclass(frozen=True, slots=True)
class MetricsSection:
    """Figures for Prometheus, at /metrics of the review page."""

    token_file: str = ""
    """File with a token that a Prometheus elsewhere shows as `Authorization: Bearer …`, 16 characters at least. Empty =
    only this machine reads them, and an admin who is logged in."""


def token_of(section: MetricsSection) -> str:
    """The token, "" = there is none. Raises: ConfigError."""
    if not section.token_file:
        return ""
    try:
        token = Path(section.token_file).expanduser().read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"metrics.token_file cannot be read ({error}).") from None
    if len(token) < TOKEN_LEAST:
        raise ConfigError(
            f"The token in metrics.token_file has {len(token)} characters, {TOKEN_LEAST} are needed.",
            hint="Make one with: openssl rand -hex 16",
        )
    return token
