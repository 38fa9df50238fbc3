"""One call of an OpenAI-compatible endpoint: POST {url}/chat/completions. Nothing of the answer is trusted.

What comes back is bounded in bytes and in time as a whole, so that neither an endless answer nor one that drips keeps
anybody. Redirects are not followed: the key belongs to one address.
source: https://platform.openai.com/docs/api-reference/chat/create
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import httpx

from server.review import llm_settings
from server.review.llm_settings import LlmSettings
from shared.clock import Clock
from shared.errors import Refused, Transient, Unreachable

MOST_ANSWER_BYTES = 64 * 1024
MOST_TOKENS = 40
"""Of an answer: a sentence of eight words has a dozen."""
_BUSY = (408, 409, 425, 429, 500, 502, 503, 504)
_CHARACTERS_A_TOKEN = 4


class Busy(Transient):
    """The endpoint is busy, or failed for now. after_s: when it wants to be asked again; 0 = it does not say."""

    def __init__(self, message: str, *, after_s: float = 0.0) -> None:
        super().__init__(message)
        self.after_s = after_s


class Away(Unreachable):
    """Nothing was sent, so that nothing was spent."""


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """What a model said."""

    text: str
    model: str
    """As the endpoint names it, else as the settings do."""
    tokens: int
    """Of question and answer, as the endpoint counts them, else an estimate."""


def estimate(system: str, user: str) -> int:
    """Tokens that a call may cost, question and answer. Pure."""
    return (len(system) + len(user)) // _CHARACTERS_A_TOKEN + MOST_TOKENS


def ask(settings: LlmSettings, system: str, user: str, *, clock: Clock) -> ChatAnswer:
    """Ask once.

    raises: Busy, Unreachable, of which Away (try again later); Refused (this question is not answered, and why);
    ConfigError
    """
    body = {
        "model": settings.model,
        "messages": [{"role": "system", "content": system}, {"role": "user", "content": user}],
        "temperature": 0,
        "max_tokens": MOST_TOKENS,
        "stream": False,
    }
    key = llm_settings.key_of(settings)
    headers = {"authorization": f"Bearer {key}"} if key else {}
    url = f"{settings.url.rstrip('/')}/chat/completions"
    until_s = clock.monotonic_s() + settings.timeout_s
    here = llm_settings.is_here(settings.url)
    try:
        with (
            httpx.Client(timeout=settings.timeout_s, trust_env=not here) as client,
            client.stream("POST", url, json=body, headers=headers) as response,
        ):
            data = _bounded(response, until_s, clock)
            _check_status(response)
    except httpx.ConnectError:
        raise Away(f"Nobody answers at {url}.") from None
    except httpx.HTTPError as error:
        raise Unreachable(f"The language model at {url} does not answer ({type(error).__name__}).") from None
    return _answer(data, settings, estimate(system, user))


def _bounded(response: httpx.Response, until_s: float, clock: Clock) -> bytes:
    data = bytearray()
    for block in response.iter_bytes():
        data += block
        if len(data) > MOST_ANSWER_BYTES:
            raise Refused(f"its answer is larger than {MOST_ANSWER_BYTES} bytes.")
        if clock.monotonic_s() > until_s:
            raise Unreachable("The language model's answer takes too long.")
    return bytes(data)


def _check_status(response: httpx.Response) -> None:
    status = response.status_code
    if status in _BUSY:
        raise Busy(f"The language model answers {status}.", after_s=_retry_after_s(response))
    if status in (401, 403, 404):
        hint = "Check llm.url, llm.model and llm.key_file."
        raise Unreachable(f"The language model answers {status}.", hint=hint)
    if status != 200:
        raise Refused(f"it answers {status}.")


def _retry_after_s(response: httpx.Response) -> float:
    text = response.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0.0


def _answer(data: bytes, settings: LlmSettings, estimated: int) -> ChatAnswer:
    try:
        value: Any = json.loads(data)
        text = value["choices"][0]["message"]["content"]
        if not isinstance(text, str):
            raise TypeError("content is no text")
    except (ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
        raise Refused(f"its answer is none of a chat completion ({type(error).__name__}).") from None
    usage, model = value.get("usage"), value.get("model")
    counted = usage.get("total_tokens") if isinstance(usage, dict) else None
    tokens = counted if type(counted) is int and 0 <= counted < 10**9 else estimated
    return ChatAnswer(text, _plain(model) or settings.model or "a language model", tokens)


def _plain(name: Any) -> str:
    """A model's name that may be shown, "" = it is none."""
    return name if isinstance(name, str) and name.isprintable() and len(name) <= 200 else ""
