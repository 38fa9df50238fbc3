"""The pipe between the capture process and the agent."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.capture import pipe
from device.capture.pipe import Inlet, Message, Outlet
from shared.errors import MediaError


def _bytes_of(kind: str, size: int) -> tuple[bytes, tuple[int, int, int]]:
    """One message as it goes over the pipe, with (kind, height, width) as it must come out."""
    read_end, write_end = os.pipe()
    out = Outlet(write_end)
    if kind == "picture":
        out.picture(np.arange(size * 2 * 3, dtype=np.uint8).reshape(size, 2, 3), 1.5)
    elif kind == "sound":
        out.sound(np.arange(size, dtype=np.int16), 2.5)
    elif kind == "hello":
        out.hello({"fps": size})
    else:
        out.end()
    os.close(write_end)
    data = b"".join(iter(lambda: os.read(read_end, 65536), b""))
    os.close(read_end)
    expected = {"picture": (pipe.PICTURE, size, 2), "sound": (pipe.SOUND, size, 0), "hello": (pipe.HELLO, 0, 0)}
    return data, expected.get(kind, (pipe.END, 0, 0))


def _drain(inlet: Inlet) -> Iterator[Message]:
    while (message := inlet.take()) is not None:
        yield message


KINDS = st.tuples(st.sampled_from(["picture", "sound", "hello", "end"]), st.integers(1, 300))


@given(messages=st.lists(KINDS, max_size=8), cuts=st.lists(st.integers(1, 700), max_size=30))
def test_whatever_pieces_arrive_the_messages_come_out_whole(messages: list[tuple[str, int]], cuts: list[int]) -> None:
    sent = [_bytes_of(kind, size) for kind, size in messages]
    stream = b"".join(data for data, _ in sent)
    read_end, write_end = os.pipe()
    inlet, got = Inlet(read_end), []
    try:
        for cut in [*cuts, *[60_000] * (len(stream) // 60_000 + 1)]:
            os.write(write_end, stream[:cut])
            stream = stream[cut:]
            got += [(message.kind, message.height, message.width) for message in _drain(inlet)]
        os.close(write_end)
        with pytest.raises(EOFError):
            list(_drain(inlet))
    finally:
        os.close(read_end)
    assert got == [expected for _, expected in sent]


@given(st.binary(min_size=24, max_size=200))
def test_bytes_that_are_not_ours_never_raise_anything_but_media_error(garbage: bytes) -> None:
    read_end, write_end = os.pipe()
    inlet = Inlet(read_end)
    os.write(write_end, garbage)
    os.close(write_end)
    try:
        for message in _drain(inlet):
            message.facts()
    except (MediaError, EOFError):
        pass
    finally:
        os.close(read_end)


def test_a_picture_keeps_its_pixels_and_its_time() -> None:
    read_end, write_end = os.pipe()
    image = np.random.default_rng(1).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Outlet(write_end).picture(image[:, ::-1], 12.25)  # not contiguous on purpose
    message = Inlet(read_end).take()
    os.close(read_end)
    os.close(write_end)
    assert message is not None
    assert message.t_s == 12.25
    assert np.array_equal(message.payload.reshape(20, 30, 3), image[:, ::-1])


def test_writing_to_an_agent_that_is_gone_raises_broken_pipe() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    with pytest.raises(BrokenPipeError):
        Outlet(write_end).end()
    os.close(write_end)
