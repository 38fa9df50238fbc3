"""A recorded MQTT session: each message that a device published, and the server's answers to it."""

from __future__ import annotations

import base64
import json
import shutil
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.messages import CONTAINER
from tests.compatibility.site import Client, Message, until, without

QUIET_S = 0.4
# Not compared: the time of an offer, its revision, which is at least that time in seconds, and words for a person.
PASSING = ("issued_at_utc", "revision", "reason", "grants", "containers")
UNKNOWN_KIND = "x-1.party"
WITHOUT_SPEECH = '\n[speech]\nrecogniser = "none"\n'


@dataclass(frozen=True, slots=True)
class Exchange:
    """One message of the device, and the server's answers."""

    topic: str
    payload: bytes
    answers: tuple[Message, ...]


def copy_home(home: Path, to: Path) -> None:
    """Copy a home and switch transcription off: whether it is done when a test looks would be chance."""
    shutil.copytree(home, to)
    with open(to / "waycue.toml", "a") as settings:
        settings.write(WITHOUT_SPEECH)


def replay(port: int, device: str, sent: Sequence[Message], *, expected: Sequence[int] = ()) -> list[Exchange]:
    """Publish each message after the answers to the message before.

    expected: number of answers to each message; without it, answers end with QUIET_S of silence
    """
    exchanges = []
    with Client(port, f"wc/v1/{device}/down/#") as client:
        for number, (topic, payload) in enumerate(sent):
            begun = len(client.received)
            client.send(topic, payload, retain=topic.endswith("/status"))
            if expected and number < len(sent) - 1:
                until(lambda count=begun + expected[number]: len(client.received) >= count, f"answers to {topic}")  # type: ignore[misc]
            else:
                _quiet(client)
            exchanges.append(Exchange(topic, payload, tuple(client.received[begun:])))
    return exchanges


def strays(device: str, sent: Sequence[Message]) -> list[Message]:
    """Messages after the session: repeated, contradicting, malformed and unknown ones."""
    own = f"wc/v1/{device}"
    event = next(payload for topic, payload in sent if topic == f"{own}/up/event")
    begin_topic, begin = next(message for message in sent if message[0].endswith("/begin"))
    transfer = begin_topic.removesuffix("/begin")
    whole = [message for message in sent if message[0].startswith(f"{transfer}/")]
    record = json.loads(event)
    foreign = record["body"] | {"device": "carl"}
    large, wrong = json.loads(begin), json.loads(begin)
    large["part"] |= {"size_bytes": 10**10}
    wrong["part"] |= {"sha256": "00" * 32}
    return [
        (f"{own}/up/event", event),
        *whole,
        (f"{transfer}/ask", b""),
        (f"{own}/up/event", json.dumps(record | {"body": record["body"] | {"confidence": 0.123}}).encode()),
        (f"{own}/up/event", json.dumps(record | {"body": foreign}).encode()),
        (f"{own}/up/event", json.dumps(record | {"record_id": "another"}).encode()),
        (f"{own}/up/event", b"not json"),
        (f"{own}/up/x-1.frame/ask", b""),
        (f"{own}/up/x-1.frame/0", b"x" * 100),
        (f"{own}/up/x-1.frame/end", b""),
        (f"{own}/up/x-1.frame/begin", begin),
        (f"{own}/up/{UNKNOWN_KIND}/begin", begin),
        (f"{transfer}/begin", json.dumps(large).encode()),
        (f"{transfer}/begin", json.dumps(wrong).encode()),
        *(message for message in whole if message[0] != begin_topic),
        (f"{transfer}/begin", b"{}"),
        (f"{own}/up/want", json.dumps({"sha256": "00" * 32, "ranges": [[0, 10]]}).encode()),
        (f"{own}/up/want", b"\x00"),
        (f"{own}/up/nothing", b""),
        (f"{own}/up/a/b/c", b""),
        (f"{own}/status", b"[1, 2"),
    ]


def _quiet(client: Client) -> None:
    pause = threading.Event()
    count, since_s = len(client.received), time.monotonic()
    while time.monotonic() - since_s < QUIET_S:
        pause.wait(0.02)
        if len(client.received) != count:
            count, since_s = len(client.received), time.monotonic()


def comparable(exchange: Exchange) -> list[Any]:
    """The answers, sorted, without the fields of PASSING."""
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
    """Answers each message of a device as the recorded server did, and collects those that were not recorded.

    That server refused a transfer of a kind that it did not know, which is how a device learns that it takes no
    containers.
    """

    def __init__(self, port: int, device: str, exchanges: Sequence[Exchange]) -> None:
        self.unknown: list[str] = []
        """Topics of messages that were not recorded."""
        self.containers: list[str] = []
        """Topics of messages about containers, each refused."""
        self._answers: dict[tuple[str, bytes], list[Sequence[Message]]] = {}
        for exchange in exchanges:
            self._answers.setdefault(_key(exchange.topic, exchange.payload), []).append(exchange.answers)
        own = f"wc/v1/{device}"
        self._client = Client(port, f"{own}/up/#", f"{own}/status", on_message=self._answer)

    def _answer(self, topic: str, payload: bytes) -> None:
        transfer = topic.rpartition("/")[0]
        if transfer.endswith(f".{CONTAINER}"):
            self.containers.append(topic)
            answers = next(given for (name, _), (given, *_) in self._answers.items() if f"/{UNKNOWN_KIND}/" in name)
            name = transfer.rpartition("/")[2]
            for at, data in answers:
                self._client.send(at.replace(UNKNOWN_KIND, name), data)
            return
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


def kinds(exchanges: Sequence[Exchange]) -> Counter[str]:
    """How many messages of each kind were sent: the topic's last level, "part" for an offset."""
    counts: Counter[str] = Counter()
    for exchange in exchanges:
        last = exchange.topic.rpartition("/")[2]
        counts["part" if last.isdigit() else last] += 1
    return counts
