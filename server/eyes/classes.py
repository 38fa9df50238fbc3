"""What the labels of Open Images are called here: objects of `shared.vocabulary`."""

from __future__ import annotations

OBJECT_OF: dict[str, str | None] = {
    "Bicycle": "bicycle",
    "Boot": None,
    "Laptop": None,
    "Person": "person",
    "Chair": "furniture",
    "Cattle": "dog",  # the vocabulary's word for an animal
    "Desk": "furniture",
    "Cat": "dog",
    "Computer mouse": None,
    "Computer monitor": None,
    "Box": "obstacle",
    "Mug": None,
    "Coffee cup": None,
    "Stationary bicycle": None,
    "Table": "furniture",
    "Bottle": None,
    "High heels": None,
    "Vehicle": "vehicle",
    "Footwear": None,
    "Dog": "dog",
    "Book": None,
    "Camera": None,
    "Car": "vehicle",
}
"""None: nothing is said about it, or (shoes, boots) it is part of something that is."""


def objects(labels: tuple[str, ...]) -> tuple[str | None, ...]:
    """The vocabulary's object of each class, None where there is none: the background, and labels unknown here."""
    return tuple(OBJECT_OF.get(label) for label in labels)
