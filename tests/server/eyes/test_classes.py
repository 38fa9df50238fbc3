"""The table of classes agrees with the package's labels and with the vocabulary."""

from __future__ import annotations

from server.eyes.classes import OBJECT_OF, objects
from shared import vocabulary


def test_every_label_of_the_package_is_in_the_table(labels: tuple[str, ...]) -> None:
    assert set(labels[1:]) == set(OBJECT_OF)
    assert objects(labels)[0] is None, "the background"


def test_the_table_says_what_the_vocabulary_says() -> None:
    terms = vocabulary.load().objects
    names = {name: term.name for term in terms.values() for name in term.names}
    assert {found for found in OBJECT_OF.values() if found} <= set(terms)
    for label, found in OBJECT_OF.items():
        if label.lower() in names:
            assert found == names[label.lower()], label
