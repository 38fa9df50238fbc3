"""The packaged eyes as a model of their own: a bundle with a look network and no decoder, on trial.

It sees what the detector was trained to see, and nothing else: no curb, no step, no pole. What it says comes from the
table of what may be said. Until a gate has judged it on walks it guides only wearers with a sighted companion.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from exporters.onnx.bundle import GoldenChunk, Label
from exporters.onnx.eyes import export_eyes
from exporters.onnx.look import Detector
from server import walks
from server.evaluation import answers
from server.eyes import classes, packaged
from server.eyes.ssd_mobilenet import INPUT_PX, PRECISE, SMALLEST_PX, SsdMobileNet
from server.releases.registry import RegisteredModel, Registry
from shared import atomic, vocabulary
from shared import bundle as bundles
from shared.clock import Clock, SystemClock
from shared.errors import BundleError, ConfigError
from shared.preprocess import Preprocessing
from shared.runtime import GuidanceModel

VERSION = "eyes-openimages-1"
SURE_ABOVE = 0.5
"""From here on a box is believed, and its words are said."""
TRIED = 12
"""Drawn pictures of each class, of which the first that is plain is taken."""
GOLDEN_SCORE = 0.75
"""A picture that devices test themselves on is plain: another processor rounds differently."""
CALIBRATION_PICTURES = 60
MEASURED = {"person": (46, 46), "vehicle": (54, 54), "bicycle": (29, 30)}
"""Class → (right, all) of 480 real pictures of streets, rooms and trails in which it has boxes of at least SURE_ABOVE,
as the int8 bundle finds them; of vehicles 60 boxes drawn by lot. Right is what shows such a thing to a person who looks
at it. Furniture was in three pictures, right each time: too few to tell."""
Progress = Callable[[str], None]


def detector(eyes: packaged.Eyes, *, size_px: int = INPUT_PX) -> Detector:
    """What is exported of the packaged eyes. size_px: side of its pictures"""
    network = eyes.network
    if size_px != eyes.record.input_px:
        network = SsdMobileNet(size_px).eval()
        network.load_state_dict(eyes.network.state_dict())
    return Detector(network, Preprocessing(size_px), classes.objects(eyes.record.labels), precise=PRECISE)


def version_of(size_px: int) -> str:
    """What the eyes are called that see pictures of this side."""
    return VERSION if size_px == INPUT_PX else f"{VERSION}-{size_px}px"


def register(home: Path, *, size_px: int = INPUT_PX, progress: Progress, clock: Clock | None = None) -> RegisteredModel:
    """Export the eyes that are kept in the server's home, and register them. They get no role by that.

    size_px: side of their pictures: a look takes less the fewer pixels, and sees less (docs/adr/0094). How often they
        are right is known for INPUT_PX alone, so that other sizes name nothing but where guidance.trial_classes is on
    raises: ConfigError where there are no eyes, or for a size that they cannot see; BundleError where they or the
        registered bundle are damaged, or they see nothing of what is drawn; Transient for a full disk or another who
        adds; OSError
    """
    if not SMALLEST_PX <= size_px <= INPUT_PX:
        raise ConfigError(
            f"The packaged eyes see pictures of {SMALLEST_PX} to {INPUT_PX} px, not of {size_px}.",
            hint="waycue-server models add eyes --size 224",
        )
    registry = Registry(home)
    with packaged.alone(home):
        known = next((model for model in registry.list() if model.version == version_of(size_px)), None)
        if known is not None:
            bundles.verify(known.bundle_folder)
            return known
        work = home / "nights" / "eyes"
        atomic.remove_tree(work)
        try:
            eyes = packaged.load(home)
            folder = _exported(eyes, detector(eyes, size_px=size_px), work, (clock or SystemClock()).utc_s(), progress)
            return registry.add(folder)
        finally:
            atomic.remove_tree(work)


def _exported(eyes: packaged.Eyes, what: Detector, work: Path, now_utc_s: float, progress: Progress) -> Path:
    """The int8 bundle, in a folder of `work`."""
    record, size_px = eyes.record, what.preprocessing.size_px
    base, thresholds = f"{record.package} {record.version}", {"hazard_above": SURE_ABOVE, "speak_above": SURE_ABOVE}
    label = Label(version_of(size_px), base, "", bundles.TRIAL, thresholds, now_utc_s)
    progress("exporting the look network in float32")
    export_eyes(what, label, work / "float", golden_chunks=(), pictures=(), quantised=False)
    chosen = golden(work / "float")
    progress(f"quantising it to int8; {len(chosen)} drawn pictures go along for devices to test themselves on")
    pictures = [case.image for case in answers.rendered_cases(CALIBRATION_PICTURES, seed=1)]
    notice = f"{record.name}, from {base}, {record.licence} by its package.json.\n"
    known = MEASURED if record.source_sha256 == packaged.ASSETS_SHA256 and size_px == INPUT_PX else {}
    measured = {name: {"precision": round(right / of, 4), "of": of} for name, (right, of) in known.items()}
    export_eyes(what, label, work / "bundle", golden_chunks=chosen, pictures=pictures, notice=notice, measured=measured)
    return work / "bundle"


def golden(folder: Path) -> list[GoldenChunk]:
    """Drawn pictures that a bundle words right and plainly. Raises: BundleError where there are none."""
    model, chosen = GuidanceModel.load(folder, threads=1, allow=bundles.FOR_JUDGING), list[GoldenChunk]()
    for name in model.manifest.model["objects"]:
        for case in answers.rendered_cases(TRIED, want=name if name in walks.KNOWN else "", seed=2):
            due, said = vocabulary.parse(case.text), model.word(model.look(case.image))
            plain = said.confidence >= GOLDEN_SCORE and vocabulary.parse(said.text) == due
            if plain and due is not None and due.object:
                chosen.append(GoldenChunk(case.image, due.object, due.side, vocabulary.tier(due) == 1))
                break
    if not chosen:
        raise BundleError(
            "these eyes see nothing of what is drawn: they are not what they seem.",
            hint="Fetch them anew: waycue-server models add eyes",
        )
    return chosen
