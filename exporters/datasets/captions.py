"""Pictures with captions, as COCO's captions are: images/{name}.jpg and captions.json.

No boxes: what eyes on the server saw is a guess, and nobody has drawn or confirmed any. Tools that draw (CVAT, Label
Studio) read this file to begin with.

source: https://cocodataset.org/#format-data, "Captions"
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from PIL import Image

from exporters.datasets.folder import ExportFolder
from exporters.datasets.rows import SPLITS, LeftOut, Row, usable


def write_coco(rows: Iterable[Row], folder: ExportFolder) -> LeftOut:
    """Returns what was left out. Raises: OSError."""
    images, annotations, left_out = list[dict[str, Any]](), list[dict[str, Any]](), LeftOut()
    for number, row in enumerate(usable(rows, "frame", left_out=left_out), start=1):
        folder.place(row.file("frame"), f"images/{row.name}.jpg")
        with Image.open(row.file("frame")) as picture:  # the header only
            width, height = picture.size
        image = {"id": number, "file_name": f"{row.name}.jpg", "width": width, "height": height}
        images.append({**image, "split": SPLITS[row.split]})
        annotations.append({"id": number, "image_id": number, "caption": row.text})
    about = {"description": "Moments of walks, and what should be said in each to a blind walker."}
    folder.write_json("captions.json", {"info": about, "licenses": [], "images": images, "annotations": annotations})
    return left_out
