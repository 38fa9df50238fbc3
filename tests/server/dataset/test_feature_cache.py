"""The cache of tower features: whole or gone, bounded, and without what was erased."""

from __future__ import annotations

import os
import signal
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from server.dataset import feature_cache
from server.dataset.feature_cache import FeatureCache, Piece

SHAPE = (1, 4, 8)


def piece(number: int, picture: str = "") -> Piece:
    return Piece(sha256(str(number).encode()).hexdigest(), picture)


def values(*numbers: int) -> NDArray[np.float16]:
    return np.stack([np.full(SHAPE, number, np.float16) for number in numbers])


def opened(folder: Path, *, most_bytes: int | None = None, said: list[str] | None = None) -> FeatureCache:
    report = (said if said is not None else []).append
    return FeatureCache(folder, "abc", shape=SHAPE, most_bytes=most_bytes, progress=report)


def test_what_was_added_is_there_the_next_night(tmp_path: Path) -> None:
    opened(tmp_path).add([piece(1), piece(2)], values(1, 2))
    again = opened(tmp_path)
    assert again.has(piece(2).key)
    assert not again.has(piece(3).key)
    np.testing.assert_array_equal(again[piece(2).key], values(2)[0])
    assert again[piece(1).key].base is not None, "it is a view into the file"


@pytest.mark.parametrize("how", ["cut", "one bit", "empty", "text", "another shape"])
def test_a_damaged_shard_is_dropped_and_told(tmp_path: Path, how: str) -> None:
    opened(tmp_path).add([piece(1), piece(2)], values(1, 2))
    opened(tmp_path).add([piece(3)], values(3))
    file = next(file for file in tmp_path.iterdir() if piece(1).key in file.read_bytes().decode("latin1"))
    data = bytearray(file.read_bytes())
    if how == "one bit":
        data[-1] ^= 1
    changed: dict[str, bytes] = {
        "cut": bytes(data[:-3]),
        "one bit": bytes(data),
        "empty": b"",
        "text": b"no shard at all, but longer than a header",
    }
    if how == "another shape":
        FeatureCache(tmp_path, "abc", shape=(1, 2, 16)).add([piece(1), piece(2)], values(1, 2).reshape(2, 1, 2, 16))
    else:
        file.write_bytes(changed[how])
    said: list[str] = []
    cache = opened(tmp_path, said=said)
    assert not cache.has(piece(2).key)
    assert cache.has(piece(3).key) == (how != "another shape"), "the others stay"
    assert any("damaged: it is computed again" in line for line in said)
    cache.add([piece(1), piece(2)], values(1, 2))
    assert opened(tmp_path).has(piece(2).key)


def test_what_was_not_used_for_the_longest_time_goes_first_and_the_bound_is_kept(tmp_path: Path) -> None:
    opened(tmp_path).add([piece(0)], values(0))
    one = feature_cache.size_bytes(tmp_path)
    for number in range(1, 4):
        opened(tmp_path).add([piece(number)], values(number))
    for number, file in enumerate(sorted(tmp_path.iterdir())):
        os.utime(file, (number, number))
    cache = opened(tmp_path, most_bytes=4 * one)
    oldest = next(n for n in range(4) if piece(n).key in min(tmp_path.iterdir()).read_bytes().decode("latin1"))
    assert cache.has(piece(oldest).key)
    cache.add([piece(9)], values(9))
    assert feature_cache.size_bytes(tmp_path) <= 4 * one
    assert cache.has(piece(oldest).key)
    assert cache.has(piece(9).key)
    assert sum(cache.has(piece(n).key) for n in range(4)) == 3


def test_what_a_night_reads_is_not_evicted_by_what_it_adds(tmp_path: Path) -> None:
    cache = opened(tmp_path)
    cache.add([piece(1)], values(1))
    small = opened(tmp_path, most_bytes=1)
    assert small.has(piece(1).key)
    small.add([piece(2)], values(2))
    assert small.has(piece(1).key)


def test_other_weights_have_a_space_of_their_own_within_the_same_bound(tmp_path: Path) -> None:
    opened(tmp_path).add([piece(1)], values(1))
    other = FeatureCache(tmp_path, "def", shape=SHAPE, most_bytes=1)
    assert not other.has(piece(1).key)
    other.add([piece(1)], values(5))
    assert not opened(tmp_path).has(piece(1).key), "evicted: the bound is of the whole folder"
    assert other.has(piece(1).key)


def test_erased_pictures_and_those_no_longer_in_the_dataset_go(tmp_path: Path) -> None:
    cache = opened(tmp_path)
    cache.add([piece(1, "a"), piece(2, "b")], values(1, 2))
    cache.add([piece(3, "c"), piece(4)], values(3, 4))
    assert feature_cache.forget(tmp_path, set()) == []
    assert len(feature_cache.forget(tmp_path, {"b", "x"})) == 1
    left = opened(tmp_path)
    assert not left.has(piece(1).key)
    assert left.has(piece(3).key)
    assert feature_cache.keep_only(tmp_path, {"c"}) == []
    assert len(feature_cache.keep_only(tmp_path, {"a"})) == 1
    assert feature_cache.forget(tmp_path / "nowhere", {"a"}) == []


def test_a_kill_while_a_shard_is_written_leaves_no_half_of_it(tmp_path: Path) -> None:
    opened(tmp_path).add([piece(1)], values(1))
    for call in ("fsync", "replace"):
        pid = os.fork()
        if pid == 0:
            setattr(os, call, lambda *given: os.kill(os.getpid(), signal.SIGKILL))
            opened(tmp_path).add([piece(2)], values(2))
            os._exit(0)
        assert os.WIFSIGNALED(os.waitpid(pid, 0)[1])
        again = opened(tmp_path)
        assert again.has(piece(1).key)
        assert not again.has(piece(2).key)
        assert all(file.suffix == ".safetensors" for file in tmp_path.iterdir())
