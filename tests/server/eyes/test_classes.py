"""The table of classes agrees with the package's labels and with the vocabulary."""

from __future__ import annotations

import pytest

from server.eyes.classes import ELSEWHERE, OBJECT_OF, object_of, objects
from shared import vocabulary


def test_every_label_of_the_package_is_in_the_table(labels: tuple[str, ...]) -> None:
    assert set(labels[1:]) == set(OBJECT_OF)
    assert objects(labels)[0] is None, "the background"


def test_the_table_says_what_the_vocabulary_says() -> None:
    terms = vocabulary.load().objects
    names = {name: term.name for term in terms.values() for name in term.names}
    assert {found for found in OBJECT_OF.values() if found} <= set(terms)
    assert set(ELSEWHERE.values()) <= set(terms)
    for label, found in (*OBJECT_OF.items(), *ELSEWHERE.items()):
        if label.lower() in names:
            assert found == names[label.lower()], label


@pytest.mark.parametrize(
    ("label", "found"),
    [
        ("person", "person"), ("Car", "vehicle"), ("motorcycle", "scooter"), ("fire hydrant", "bin"),
        ("Traffic cone", "cone"), ("Street Lights", "pole"), ("trash_bin_can", "bin"), ("couch", "furniture"),
        ("traffic light", None), ("stop sign", None), ("Boot", None), ("bottle", None), ("LABEL_3", None),
    ],
)  # fmt: skip
def test_detectors_of_coco_and_objects365_are_understood(label: str, found: str | None) -> None:
    assert object_of(label) == found
