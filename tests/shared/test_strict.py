"""The strict reader, beyond what the messages themselves test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from shared import strict
from shared.errors import MessageError
from shared.messages import Status


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
