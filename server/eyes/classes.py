"""What the labels of detectors are called here: objects of `shared.vocabulary`.

What is left out is never said: signs and lights hang above the ground or are meant for drivers, and what is carried,
worn or lies on a table is in nobody's way.
"""

from __future__ import annotations

from collections.abc import Iterable

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


ELSEWHERE: dict[str, str] = {
    label: name
    for name, labels in {
        "person": ("man", "woman", "boy", "girl", "human"),
        "vehicle": (
            "bus", "train", "truck", "suv", "van", "pickup truck", "sports car", "heavy truck", "fire truck",
            "ambulance", "machinery vehicle", "carriage", "rickshaw", "caravan", "trailer", "tram", "taxi",
        ),
        "bicycle": ("tricycle", "bicyclist", "rider"),
        "scooter": ("motorcycle", "motorbike", "scooter", "moped"),
        "dog": ("horse", "sheep", "cow", "elephant", "bear", "giraffe", "donkey", "goat", "pig", "deer"),
        "furniture": (
            "bench", "couch", "sofa", "potted plant", "pottedplant", "bed", "dining table", "dinning table",
            "diningtable", "coffee table", "side table", "stool", "cabinet/shelf", "nightstand", "refrigerator",
            "planter",
        ),
        "pole": ("parking meter", "street light", "street lights", "lamp post", "pole", "column", "utility pole"),
        "bollard": ("bollard",),
        "cone": ("traffic cone", "cone"),
        "barrier": ("fence", "barrier", "guard rail", "wall"),
        "bin": ("trash bin can", "trash can", "waste container", "fire hydrant", "hydrant"),
        "child cart": ("stroller", "wheelchair", "trolley", "baby carriage", "cart"),
        "obstacle": ("suitcase", "luggage", "barrel", "barrel/bucket", "storage box", "ladder", "tree", "mailbox"),
    }.items()
    for label in labels
}  # fmt: skip
"""The same for detectors that were trained on COCO, Objects365 or street scenes; in lower case."""


def object_of(label: str) -> str | None:
    """The vocabulary's object of a detector's label, None where there is none."""
    known = {**ELSEWHERE, **{name.lower(): found for name, found in OBJECT_OF.items()}}
    return known.get(" ".join(label.lower().replace("_", " ").split()))


def objects(labels: Iterable[str]) -> tuple[str | None, ...]:
    """The vocabulary's object of each class, None where there is none: the background, and labels unknown here."""
    return tuple(object_of(label) for label in labels)
