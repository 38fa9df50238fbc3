"""The strict reader, beyond what the messages themselves test."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, make_dataclass
from typing import Annotated, Any

import pytest
from msgspec import Meta

from shared import strict
from shared.errors import MessageError
from shared.messages import Status
from tests.crash import fork


@dataclass(frozen=True)
class Leaf:
    size_bytes: strict.Count
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Tree:
    leaf: Leaf
    leaves: tuple[Leaf, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


def test_unknown_fields_are_kept_at_every_level_and_written_back() -> None:
    value = {"leaf": {"size_bytes": 1, "new": 2}, "leaves": [{"size_bytes": 3, "newer": [4]}], "newest": {"a": 5}}
    tree = strict.read(Tree, value)
    assert (tree.leaf.extra, tree.leaves[0].extra, tree.extra) == ({"new": 2}, {"newer": [4]}, {"newest": {"a": 5}})
    assert strict.plain(tree) == value


@pytest.mark.parametrize("leaf", [None, 1, "x", [], {}, {"size_bytes": -1}, {"size_bytes": True}])
def test_what_is_no_such_object_is_refused_by_the_name_of_its_field(leaf: object) -> None:
    with pytest.raises(MessageError, match=r"Tree: .*leaf"):
        strict.read(Tree, {"leaf": leaf})


def test_nesting_is_bounded() -> None:
    deep: object = 1
    for _ in range(3):
        deep = [deep]
    strict.check_depth(deep, "it", most=4)
    with pytest.raises(MessageError, match="it: nested deeper than 3 levels"):
        strict.check_depth(deep, "it", most=3)


@pytest.mark.parametrize("name", ["online", "backlog", "uptime_s", "device_kind"])
def test_half_a_character_where_something_else_is_wanted_is_refused_like_any_other_text(name: str) -> None:
    # json.loads lets such a text through; msgspec then cannot even say what it found
    with pytest.raises(MessageError, match="Status: "):
        strict.read(Status, {"online": True, name: "\ud800"})


def _read_at_once_for_the_first_time(kinds: int) -> None:
    """Classes of many fields, each read by four threads at once that take turns as often as they can."""
    sys.setswitchinterval(1e-6)
    names = [f"field_{number}" for number in range(30)]
    for number in range(kinds):
        inner: Any = make_dataclass(f"Inner{number}", [(name, Annotated[str, Meta(max_length=9)]) for name in names])
        kind = make_dataclass(f"Kind{number}", [*((name, strict.Count) for name in names), ("z", tuple[inner, ...])])
        value = dict.fromkeys(names, 1) | {"z": [dict.fromkeys(names, "a")]}
        together = threading.Barrier(4)

        def read(kind: Any = kind, value: Any = value, together: threading.Barrier = together) -> None:
            together.wait()
            assert strict.read(kind, value).field_29 == 1

        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def test_threads_that_read_a_class_for_the_first_time_at_once_do_not_end_the_process() -> None:
    """A server died of SIGSEGV (seen in the soak): msgspec shows others a class that it is still looking at."""
    assert fork(lambda: _read_at_once_for_the_first_time(120)).status == 0
