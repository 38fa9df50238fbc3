"""A container is what its record says, to the byte, or an error that names what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared import container, messages
from shared.errors import MessageError
from shared.messages import Envelope, Part
from tests.device.outbox.records import chunk, payloads

FILES = payloads(1, clip_bytes=400)
NAMES = {"frame": "frame.jpg", "audio": "audio.wav", "clip": "clip.mp4"}


def named(files: dict[str, bytes] = FILES) -> tuple[Part, ...]:
    return tuple(Part(kind, NAMES[kind], len(data), sha256(data).hexdigest()) for kind, data in files.items())


def envelope(parts: Any = None, **changes: Any) -> bytes:
    """parts: Part's, or what somebody else may write in their place."""
    record = replace(chunk(1), parts=parts if isinstance(parts, tuple) else named())
    value = messages.to_dict(Envelope("chunk", record.chunk_id, messages.to_dict(record)))
    value["body"] |= changes | ({} if parts is None or isinstance(parts, tuple) else {"parts": parts})
    return json.dumps(value).encode()


def made(record: bytes, *contents: bytes, files: int | None = None) -> bytes:
    return container.make_head(record, len(contents) if files is None else files) + b"".join(contents)


GOOD = made(envelope(), *FILES.values())


def test_what_was_put_in_comes_out() -> None:
    head, found = container.contents(GOOD)
    assert {part.kind: content for part, content in found} == FILES
    assert (head.envelope.record_id, head.whole_bytes) == (chunk(1).chunk_id, len(GOOD))
    assert container.is_complete(GOOD)
    assert container.digest(GOOD[: head.size_bytes]) == sha256(GOOD[: head.size_bytes]).hexdigest()


def test_the_last_files_may_be_left_out() -> None:
    _, found = container.contents(made(envelope(), FILES["frame"], FILES["audio"]))
    assert [part.kind for part, _ in found] == ["frame", "audio"]


@pytest.mark.parametrize("cut", [0, 5, 8, 11, 12, 400, -1])
def test_a_container_that_is_cut_short_is_refused_wherever_it_ends(cut: int) -> None:
    assert not container.is_complete(GOOD[:cut])
    with pytest.raises(MessageError):
        container.contents(GOOD[:cut])


part = named()[0]
BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "another file": (lambda: b"PK\3\4" + bytes(500), "does not begin"),
    "a byte too many": (lambda: GOOD + b"!", "its record says"),
    "no files": (lambda: made(envelope(), files=0), "says that it holds 0"),
    "more files than named": (lambda: made(envelope(), *FILES.values(), b"x"), "says that it holds 4"),
    "other bytes": (lambda: GOOD[:-1] + bytes([GOOD[-1] ^ 1]), "clip in the container is not the one"),
    "two files changed places": (
        lambda: made(envelope(), FILES["audio"], FILES["frame"], FILES["clip"]),
        "frame in the container is not the one",
    ),
    "a kind twice": (lambda: made(envelope((part, part)), FILES["frame"], FILES["frame"]), "each kind once"),
    "a container in it": (lambda: made(envelope((replace(part, kind="container"),)), b"x"), "each kind once"),
    "an unknown kind": (lambda: made(envelope(parts=[{**messages.to_dict(part), "kind": "exe"}]), b"x"), "kind"),
    "a path for a name": (lambda: made(envelope(parts=[{**messages.to_dict(part), "name": "../x"}]), b"x"), "name"),
    "a size below nothing": (
        lambda: made(envelope(parts=[{**messages.to_dict(part), "size_bytes": -9}]), b"x"),
        ">= 0",
    ),
    "a size beyond all": (lambda: made(envelope((replace(part, size_bytes=2**52),)), b"x"), "at most 524288"),
    "parts that are no list": (lambda: made(envelope(parts={"frame": 1}), b"x"), "names no files"),
    "a thousand parts": (lambda: made(envelope(parts=[messages.to_dict(part)] * 90), b"x"), "too many"),
    "no parts": (lambda: made(envelope(()), b"x"), "its record names 0"),
    "a record too long": (lambda: made(envelope(spoken="x" * 20_000), b"x"), "at most 16384"),
    "a record that is no JSON": (lambda: made(b"{" * 500, b"x"), "not JSON"),
    "an erasure": (
        lambda: made(envelope().replace(b'"kind": "chunk"', b'"kind": "erase"', 1), *FILES.values()),
        "holds no 'erase'",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_container_that_lies_is_refused_with_the_reason(name: str) -> None:
    make, reason = BAD[name]
    with pytest.raises(MessageError, match=reason):
        container.contents(make())
    assert not container.is_complete(make()) or name in ("other bytes", "two files changed places")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=600), st.integers(0, len(GOOD)), st.binary(max_size=40))
def test_whatever_comes_is_a_container_or_a_message_error(noise: bytes, at: int, patch: bytes) -> None:
    for data in (noise, container.MAGIC + noise, GOOD[:at] + patch + GOOD[at + len(patch) :]):
        container.is_complete(data)
        try:
            _, found = container.contents(data)
        except MessageError:
            continue
        assert all(sha256(content).hexdigest() == one.sha256 for one, content in found)
