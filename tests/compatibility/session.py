"""A recorded MQTT session: what a device published, and what the server answered to each message."""

from __future__ import annotations

import base64
import json
import shutil
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.compatibility.site import Client, Message, until, without

QUIET_S = 0.4
# Of an offer: a revision is at least the time in seconds. Of an acknowledgement: words for a person.
PASSING = ("issued_at_utc", "revision", "reason")
DEAF = '\n[speech]\nrecogniser = "none"\n'


@dataclass(frozen=True, slots=True)
class Exchange:
    """One message of the device, and the server's answers."""

    topic: str
    payload: bytes
    answers: tuple[Message, ...]


def copy_home(home: Path, to: Path) -> None:
    """A home of its own, whose server does not listen to corrections: when it has heard them is a matter of luck."""
    shutil.copytree(home, to)
    with open(to / "waycue.toml", "a") as settings:
        settings.write(DEAF)


def replay(port: int, device: str, sent: Sequence[Message], *, expected: Sequence[int] = ()) -> list[Exchange]:
    """Publish one message after the other, each when the one before was answered.

    expected: how many answers to wait for; without it each message is given QUIET_S of silence.
    """
    exchanges = []
    with Client(port, f"wc/v1/{device}/down/#") as client:
        for number, (topic, payload) in enumerate(sent):
            begun = len(client.heard)
            client.send(topic, payload, retain=topic.endswith("/status"))
            if expected and number < len(sent) - 1:
                until(lambda count=begun + expected[number]: len(client.heard) >= count, f"answers to {topic}")  # type: ignore[misc]
            else:
                _quiet(client)
            exchanges.append(Exchange(topic, payload, tuple(client.heard[begun:])))
    return exchanges


def strays(device: str, sent: Sequence[Message]) -> list[Message]:
    """What a device with a damaged card or another owner might send after its session."""
    own = f"wc/v1/{device}"
    event = next(payload for topic, payload in sent if topic == f"{own}/up/event")
    begin_topic, begin = next(one for one in sent if one[0].endswith("/begin"))
    transfer = begin_topic.removesuffix("/begin")
    whole = [one for one in sent if one[0].startswith(f"{transfer}/")]
    record = json.loads(event)
    theirs = record["body"] | {"device": "carl"}
    large = json.loads(begin)
    large["part"] |= {"size_bytes": 10**10}
    wrong = json.loads(begin)
    wrong["part"] |= {"sha256": "00" * 32}
    return [
        (f"{own}/up/event", event),
        *whole,
        (f"{transfer}/ask", b""),
        (f"{own}/up/event", json.dumps(record | {"body": record["body"] | {"confidence": 0.123}}).encode()),
        (f"{own}/up/event", json.dumps(record | {"body": theirs}).encode()),
        (f"{own}/up/event", json.dumps(record | {"record_id": "another"}).encode()),
        (f"{own}/up/event", b"not json"),
        (f"{own}/up/x-1.frame/ask", b""),
        (f"{own}/up/x-1.frame/0", b"x" * 100),
        (f"{own}/up/x-1.frame/end", b""),
        (f"{own}/up/x-1.frame/begin", begin),
        (f"{own}/up/x-1.party/begin", begin),
        (f"{transfer}/begin", json.dumps(large).encode()),
        (f"{transfer}/begin", json.dumps(wrong).encode()),
        *(one for one in whole if not one[0].endswith("/begin")),
        (f"{transfer}/begin", b"{}"),
        (f"{own}/up/want", json.dumps({"sha256": "00" * 32, "ranges": [[0, 10]]}).encode()),
        (f"{own}/up/want", b"\x00"),
        (f"{own}/up/nothing", b""),
        (f"{own}/up/a/b/c", b""),
        (f"{own}/status", b"[1, 2"),
    ]


def _quiet(client: Client) -> None:
    pause = threading.Event()
    count, since_s = len(client.heard), time.monotonic()
    while time.monotonic() - since_s < QUIET_S:
        pause.wait(0.02)
        if len(client.heard) != count:
            count, since_s = len(client.heard), time.monotonic()


def comparable(exchange: Exchange) -> list[Any]:
    """The answers without what differs from day to day."""
    return [[topic, _read(payload)] for topic, payload in sorted(exchange.answers)]


def _read(payload: bytes) -> Any:
    try:
        return without(json.loads(payload), *PASSING)
    except ValueError:
        return base64.b64encode(payload).decode()


def save(path: Path, exchanges: Sequence[Exchange]) -> None:
    lines = [
        [exchange.topic, _text(exchange.payload), [[topic, _text(payload)] for topic, payload in exchange.answers]]
        for exchange in exchanges
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def load(path: Path) -> list[Exchange]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [
        Exchange(topic, _bytes(payload), tuple((name, _bytes(data)) for name, data in answers))
        for topic, payload, answers in lines
    ]


def _text(payload: bytes) -> str:
    return base64.b64encode(payload).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text)


class RecordedServer:
    """Answers a device as the recorded server did: to the same message the same, to another nothing."""

    def __init__(self, port: int, device: str, exchanges: Sequence[Exchange]) -> None:
        self.unknown: list[str] = []
        self._answers: dict[tuple[str, bytes], list[Sequence[Message]]] = {}
        for exchange in exchanges:
            self._answers.setdefault(_key(exchange.topic, exchange.payload), []).append(exchange.answers)
        own = f"wc/v1/{device}"
        self._client = Client(port, f"{own}/up/#", f"{own}/status", on_message=self._answer)

    def _answer(self, topic: str, payload: bytes) -> None:
        known = self._answers.get(_key(topic, payload))
        if known is None:
            self.unknown.append(topic)
            return
        for name, data in known.pop(0) if len(known) > 1 else known[0]:
            self._client.send(name, data, retain=name.endswith("/offer"))

    def __enter__(self) -> RecordedServer:
        return self

    def __exit__(self, *exc: object) -> None:
        self._client.__exit__(*exc)


def _key(topic: str, payload: bytes) -> tuple[str, bytes]:
    return topic, b"" if topic.endswith("/status") else payload


def kinds(exchanges: Sequence[Exchange]) -> Mapping[str, int]:
    """How many messages of which kind were sent: the topic's last level, offsets as one."""
    counts: dict[str, int] = {}
    for exchange in exchanges:
        last = exchange.topic.rpartition("/")[2]
        name = "part" if last.isdigit() else last
        counts[name] = counts.get(name, 0) + 1
    return counts
