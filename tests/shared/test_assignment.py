"""Which model a device is to run: the same answer on both sides, for ever."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import assignment
from shared.assignment import Assignment, assigned, bucket, device_hash, may_run
from shared.errors import MessageError

names = st.from_regex(r"\A[a-z0-9][a-z0-9-]{0,31}\Z")
FLEET = [f"device-{number}" for number in range(1000)]


def for_all(version: str, order: int, percent: int = 100) -> Assignment:
    return Assignment(version, order, percent, frozenset())


def test_the_hashes_never_change() -> None:
    # Both sides of an update may run different versions of this software.
    assert device_hash("m1", "anna") == "8ae7e8a5bc248b49"
    assert bucket("m1", "anna") == 1688


def test_the_highest_order_wins() -> None:
    assert assigned([for_all("m2", 2), for_all("m1", 3)], "anna") == "m1"


def test_a_device_that_no_release_is_for_gets_none() -> None:
    assert assigned([for_all("m1", 1, percent=0)], "anna") is None
    assert assigned([], "anna") is None


def test_a_named_device_goes_first_and_others_stay() -> None:
    canary = Assignment("m2", 2, 0, frozenset({device_hash("m2", "anna")}))
    assert assigned([for_all("m1", 1), canary], "anna") == "m2"
    assert assigned([for_all("m1", 1), canary], "ben") == "m1"


def test_a_percentage_is_about_that_share_of_the_fleet() -> None:
    count = sum(may_run(for_all("m2", 1, percent=10), device) for device in FLEET)
    assert 70 <= count <= 130


def test_the_first_tenth_of_one_version_is_not_that_of_the_next() -> None:
    tenths = [{device for device in FLEET if may_run(for_all(name, 1, percent=10), device)} for name in ("m2", "m3")]
    assert len(tenths[0] & tenths[1]) < 40


@given(device=names, less=st.integers(0, 100), more=st.integers(0, 100))
def test_raising_a_percentage_only_adds_devices(device: str, less: int, more: int) -> None:
    less, more = sorted((less, more))
    assert may_run(for_all("m2", 1, less), device) <= may_run(for_all("m2", 1, more), device)


@given(device=names)
def test_everyone_is_in_100_percent_and_nobody_in_0(device: str) -> None:
    assert may_run(for_all("m2", 1, 100), device)
    assert not may_run(for_all("m2", 1, 0), device)


@given(order=st.integers(0, 2**53 - 1), percent=st.integers(0, 100), devices=st.sets(names, max_size=5))
def test_what_is_written_is_read_back(order: int, percent: int, devices: set[str]) -> None:
    one = Assignment("m1", order, percent, frozenset(device_hash("m1", device) for device in devices))
    assert assignment.read(assignment.target_path("m1"), assignment.to_custom(one)) == one
    led = replace(one, percent=0, supervised=True)
    assert assignment.read(assignment.target_path("m1"), assignment.to_custom(led)) == led


def test_metadata_from_before_supervision_read_as_unsupervised_and_are_written_as_before() -> None:
    one = assignment.read("models/m1/manifest.json", GOOD)
    assert not one.supervised
    assert assignment.to_custom(one) == GOOD  # the same bytes: a new server signs nothing anew for it


def test_no_name_of_a_device_stands_in_the_metadata() -> None:
    one = Assignment("m1", 1, 0, frozenset({device_hash("m1", "anna")}))
    assert "anna" not in str(assignment.to_custom(one))


GOOD = {"order": 1, "percent": 100, "devices": ["0123456789abcdef"]}


def test_unknown_keys_are_left_alone() -> None:
    assert assignment.read("models/m1/manifest.json", GOOD | {"new": 1}).order == 1


@pytest.mark.parametrize(
    ("path", "custom"),
    [
        ("models/m1/manifest.json", None),
        ("models/m1/manifest.json", []),
        ("models/m1/manifest.json", {}),
        ("models/m1/manifest.json", GOOD | {"order": -1}),
        ("models/m1/manifest.json", GOOD | {"order": True}),
        ("models/m1/manifest.json", GOOD | {"order": 10**5000}),
        ("models/m1/manifest.json", GOOD | {"percent": 101}),
        ("models/m1/manifest.json", GOOD | {"percent": 1.5}),
        ("models/m1/manifest.json", GOOD | {"devices": "all"}),
        ("models/m1/manifest.json", GOOD | {"devices": ["anna"]}),
        ("models/m1/manifest.json", GOOD | {"devices": [["0123456789abcdef"]]}),
        ("models/m1/manifest.json", GOOD | {"devices": ["0" * 16] * (assignment.MAX_DEVICES + 1)}),
        ("models/m1/manifest.json", GOOD | {"percent": 0, "supervised": 1}),
        ("models/m1/manifest.json", GOOD | {"percent": 0, "supervised": "yes"}),
        ("models/m1/manifest.json", GOOD | {"percent": 0, "supervised": None}),
        ("models/m1/manifest.json", GOOD | {"percent": 1, "supervised": True}),
        ("models/../manifest.json", GOOD),
        ("models/m1/../manifest.json", GOOD),
        ("m1/manifest.json", GOOD),
        ("", GOOD),
    ],
)
def test_anything_else_is_refused(path: str, custom: Any) -> None:
    with pytest.raises(MessageError):
        assignment.read(path, custom)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
keyed = st.fixed_dictionaries({}, optional=dict.fromkeys(("order", "percent", "devices", "supervised"), values))


@given(path=st.text(max_size=40) | st.just("models/m1/manifest.json"), custom=values | keyed)
def test_no_custom_brings_the_reader_down(path: str, custom: Any) -> None:
    try:
        assignment.read(path, custom)
    except MessageError:
        pass
