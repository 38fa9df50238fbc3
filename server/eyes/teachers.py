"""Larger networks that look at kept pictures on the server and say what they would have said there.

    picture → boxes in the vocabulary's words → hazards by the camera's place (shared.sight) → one sentence of the table

A teacher is the packaged eyes, any object detector of transformers (RT-DETR, D-FINE, DETR …) or any depth model
(Depth Anything, DPT …), by its name on the hub or a folder; several are asked together. What they say is a proposal: it
orders the review queue and stands on the page as a choice. Nothing teaches until a person has confirmed it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoImageProcessor, AutoModelForDepthEstimation, AutoModelForObjectDetection

from server.eyes import classes, depth, hub, packaged
from shared import vocabulary
from shared.errors import ConfigError
from shared.preprocess import Preprocessing, prepare
from shared.sight import Box, BoxScoring, Camera, pick, scored
from shared.sight.boxes import AREA_MOST, SCORE_LEAST

PACKAGED = "packaged"
SURE_ABOVE = 0.5
"""From here on a hazard is said."""
_METRIC = ("zoedepth", "glpn", "depth_pro")
"""Kinds of depth models that give metres whatever their configuration says; the others give inverse depth."""
_EXAMPLES = "PekingU/rtdetr_v2_r18vd, ustc-community/dfine-small-coco, depth-anything/Depth-Anything-V2-Small-hf"
Picture = NDArray[np.uint8]
Scores = Mapping[tuple[str, str], float]
"""(object, side) → how sure it is that such a thing stands in the way."""


class Teacher(Protocol):
    """Sees boxes in a picture."""

    @property
    def name(self) -> str: ...

    @property
    def licence(self) -> str:
        """As its publisher states it; "" = not stated."""
        ...

    @property
    def objects(self) -> frozenset[str]:
        """All that it can see."""
        ...

    def boxes(self, image: Picture) -> tuple[Box, ...]:
        """image: uint8 [h, w, 3] RGB. Raises: MediaError where it is no picture."""
        ...


@dataclass(frozen=True, slots=True)
class Advice:
    """What the teachers would say of one picture."""

    wording: str
    """A canonical sentence, "" = nothing."""
    score: float
    """How sure, 0..1."""
    hazards: Scores


@dataclass(frozen=True, slots=True)
class Faculty:
    """The teachers of one server, asked together."""

    teachers: Sequence[Teacher]
    camera: Camera
    """A moment does not say where its camera was worn: the usual place."""

    @property
    def name(self) -> str:
        return ", ".join(teacher.name for teacher in self.teachers)

    @property
    def objects(self) -> frozenset[str]:
        """All that one of them can see."""
        return frozenset[str]().union(*(teacher.objects for teacher in self.teachers))

    def advise(self, image: Picture) -> Advice:
        """image: uint8 [h, w, 3] RGB. Raises: MediaError where it is no picture."""
        aspect = image.shape[1] / image.shape[0]
        hazards: dict[tuple[str, str], float] = {}
        for teacher in self.teachers:
            found = scored(teacher.boxes(image), self.camera, aspect=aspect, scoring=BoxScoring())
            for pair, score in found.items():
                hazards[pair] = max(hazards.get(pair, 0.0), score)
        return advice(hazards)


def advice(hazards: Scores) -> Advice:
    """The sentence of the table about the most urgent thing that is sure enough; of equals the surest. Pure."""
    there = [pair for pair, score in hazards.items() if score >= SURE_ABOVE]
    if not there:
        return Advice("", 1.0 - max(hazards.values(), default=0.0), hazards)
    first = min(there, key=lambda pair: (vocabulary.tier(vocabulary.Slots("", *pair)), -hazards[pair]))
    return Advice(vocabulary.instruct(*first), hazards[first], hazards)


def open_teachers(names: str, home: Path, *, camera: Camera | None = None) -> Faculty:
    """names: one or more, separated by commas: "packaged", a name on the hub or a folder

    raises: ConfigError where one cannot be had, or is no detector and no depth model; BundleError; OSError
    """
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if not wanted:
        raise ConfigError(
            "There is no teacher.", hint=f"Set learn.teacher, or name one: --teacher {PACKAGED}, or {_EXAMPLES}."
        )
    where = camera or Camera()
    return Faculty([_open(name, home, where) for name in dict.fromkeys(wanted)], where)


def _open(name: str, home: Path, camera: Camera) -> Teacher:
    if name == PACKAGED:
        return PackagedTeacher(home)
    config = hub.configuration(name)
    if type(config) in AutoModelForObjectDetection._model_mapping:
        return DetectorTeacher(name)
    if type(config) in AutoModelForDepthEstimation._model_mapping:
        return DepthTeacher(name, camera)
    raise ConfigError(
        f"{name!r} is a {config.model_type} model: no object detector and no depth model.",
        hint=f"Use {PACKAGED}, or for example {_EXAMPLES}.",
    )


class PackagedTeacher:
    """The eyes that `waycue-server models add eyes` fetched."""

    name = PACKAGED

    def __init__(self, home: Path) -> None:
        eyes = packaged.load(home)
        self.licence = eyes.record.licence
        self._network, self._preprocessing = eyes.network, Preprocessing(eyes.record.input_px)
        self._names = classes.objects(eyes.record.labels)
        self.objects = frozenset(filter(None, self._names))

    @torch.inference_mode()
    def boxes(self, image: Picture) -> tuple[Box, ...]:
        seen = self._network(torch.from_numpy(prepare(image, self._preprocessing)))
        return pick(seen.boxes[0].numpy(), seen.class_logits[0].sigmoid().numpy(), self._names)


class DetectorTeacher:
    """An object detector of transformers, with its own processor."""

    def __init__(self, name: str) -> None:
        self.name, self.licence = name, hub.licence(name)
        self._processor = _processor(name)
        self._model = hub.pretrained(AutoModelForObjectDetection, name)
        labels: Mapping[int, str] = self._model.config.id2label
        self._names = classes.objects(labels[at] for at in range(len(labels)))
        self.objects = frozenset(filter(None, self._names))
        if not self.objects:
            shown = ", ".join(list(labels.values())[:5])
            raise ConfigError(
                f"None of the {len(labels)} labels of {name!r} is a thing that waycue speaks of ({shown} …).",
                hint="Use a detector of people, vehicles and street things, with their names in its configuration.",
            )

    @torch.inference_mode()
    def boxes(self, image: Picture) -> tuple[Box, ...]:
        seen = self._model(**_inputs(self._processor, image))
        (found,) = self._processor.post_process_object_detection(seen, threshold=SCORE_LEAST, target_sizes=[(1, 1)])
        corners = found["boxes"].float()[:, [1, 0, 3, 2]].numpy()
        scores = np.zeros((len(corners), len(self._names)), np.float32)
        kept = found["labels"].numpy() < len(self._names)
        scores[kept, found["labels"].numpy()[kept]] = found["scores"].float().numpy()[kept]
        return pick(corners, scores, self._names)


class DepthTeacher:
    """A depth model of transformers: it sees that something stands there, not what it is."""

    objects = frozenset(depth.OBJECTS)

    def __init__(self, name: str, camera: Camera) -> None:
        self.name, self.licence, self._camera = name, hub.licence(name), camera
        self._processor = _processor(name)
        self._model = hub.pretrained(AutoModelForDepthEstimation, name)
        config = self._model.config
        self._metres = config.model_type in _METRIC or getattr(config, "depth_estimation_type", "") == "metric"

    @torch.inference_mode()
    def boxes(self, image: Picture) -> tuple[Box, ...]:
        given = self._model(**_inputs(self._processor, image)).predicted_depth[0].float().numpy()
        inverse = 1.0 / np.maximum(given, 1e-3) if self._metres else given
        found = depth.things(inverse, self._camera, aspect=image.shape[1] / image.shape[0])
        return tuple(box for box in found if box.area <= AREA_MOST)


def _processor(name: str) -> Any:
    """How pictures reach it, its publisher's own way. Raises: ConfigError."""
    hub.preprocessor(name)
    try:
        kind: Any = AutoImageProcessor
        return kind.from_pretrained(name, local_files_only=Path(name).exists())
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ConfigError(f"The image processor of {name!r} could not be loaded: {error}") from error


def _inputs(processor: Any, image: Picture) -> Any:
    return processor(images=image, return_tensors="pt", input_data_format="channels_last")
