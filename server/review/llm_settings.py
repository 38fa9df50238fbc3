"""The section `[llm]` of the server's configuration."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from msgspec import Meta

from shared.errors import ConfigError

Calls = Annotated[int, Meta(ge=0, le=1_000_000)]
Tokens = Annotated[int, Meta(ge=0, le=1_000_000_000)]


@dataclass(frozen=True, slots=True)
class LlmSettings:
    """A language model that is asked what words mean of which the rules make nothing. It proposes, people decide."""

    url: str = ""
    """Address of an OpenAI-compatible endpoint, such as "http://127.0.0.1:8081/v1" of a llama.cpp on this machine.
    Empty = none is asked. Of another machine's, wearers' words leave this one."""
    model: Annotated[str, Meta(max_length=200)] = ""
    """The model's name there. Empty = whatever it serves."""
    key_file: str = ""
    """File with the key that is sent with every call. Empty = none."""
    timeout_s: Annotated[float, Meta(ge=1, le=600)] = 30.0
    """How long one call may take, 1 to 600."""
    tries: Annotated[int, Meta(ge=1, le=10)] = 3
    """Calls about one moment, where the endpoint is busy or does not answer, 1 to 10; with growing waits between."""
    examples: Annotated[int, Meta(ge=0, le=20)] = 4
    """Confirmed corrections that an endpoint on this machine is told with each question, the likest ones, 0 to 20.
    One on another machine is told none."""
    day_calls: Calls = 100
    """Calls by day, at most."""
    day_tokens: Tokens = 50_000
    """Tokens by day, of questions and answers."""
    night_calls: Calls = 1000
    """Calls in one night, at most."""
    night_tokens: Tokens = 500_000
    """Tokens in one night."""
    night_from: Annotated[int, Meta(ge=0, le=23)] = 22
    """Hour of this machine's clock at which a night begins."""
    night_to: Annotated[int, Meta(ge=0, le=23)] = 6
    """Hour at which it ends. The same as `night_from` = it is always day."""


def check(settings: LlmSettings) -> None:
    """Raises: ConfigError saying what to do."""
    if not settings.url:
        return
    if not _is_address(settings.url):
        raise ConfigError(
            f"llm.url is {settings.url!r:.100}, which is no address of an endpoint.",
            hint='Write for example "http://127.0.0.1:8081/v1"; a key belongs into a file, see llm.key_file.',
        )
    if settings.url.startswith("http:") and settings.key_file and not is_here(settings.url):
        raise ConfigError("llm.url would send the key unencrypted.", hint="Use https, or an endpoint on this machine.")


def _is_address(text: str) -> bool:
    try:
        url = urlsplit(text)
        host, _ = url.hostname, url.port
    except ValueError:
        return False
    odd = url.query or url.fragment or url.username
    return bool(host) and text.startswith(("http://", "https://")) and not odd


def is_here(url: str) -> bool:
    """Whether an address is this machine's own."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def key_of(settings: LlmSettings) -> str:
    """The key, "" = none is sent. Raises: ConfigError."""
    if not settings.key_file:
        return ""
    path = Path(settings.key_file).expanduser()
    try:
        key = path.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise ConfigError(f"llm.key_file {path} cannot be read ({error}).", hint="Write the key into it.") from None
    if not key.isprintable() or not key or " " in key:
        raise ConfigError(f"llm.key_file {path} holds no key.", hint="Write the key into it, and nothing else.")
    return key
