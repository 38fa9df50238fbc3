"""What a night starts from: the starter that ships with waycue or a model for the field, and what that knew already."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from server.eyes import by_name, packaged, ssd_tokens
from server.learn import replayed, tasks
from server.learn.batches import Example, Layout
from server.learn.recipe import Recipe
from server.learn.settings import LearnSettings
from server.model import checkpoint as checkpoints
from server.model import sound
from server.model.checkpoint import Checkpoint

STARTER_FOLDER = Path(__file__).parent / "starter_model"
EYES_STARTER_FOLDER = Path(__file__).parent / "starter_on_eyes"
REPLAY_OF_WALKS = 0.4
Progress = Callable[[str], None]


def load_base(settings: LearnSettings, home: Path, progress: Progress = print) -> Checkpoint:
    """What the night starts from: with a hazard row for every object of the vocabulary, and as many pictures and such
    an ear as the settings say. Raises: ConfigError; BundleError where the eyes that are kept are damaged."""
    tasks.refuse_other(settings.base)
    base = starter(settings.eyes, home, progress) if settings.base == "starter" else checkpoints.load(settings.base)
    checkpoints.grow(base)
    base.frames = max(base.frames, settings.frames)
    if settings.audio_encoder:
        base.ear = sound.fresh(settings.audio_encoder, base.width)
    return base


def starter(eyes: str, home: Path, progress: Progress) -> Checkpoint:
    """The model that ships with waycue: over pretrained eyes where these are kept, else the one with a tower that has
    only ever seen drawings; or the one that was trained on a named backbone.

    eyes: LearnSettings.eyes
    raises: ConfigError where a named backbone was not added or is another; BundleError where the eyes are damaged
    """
    if eyes not in ("packaged", "none"):
        backbone, folder = by_name.opened(home, eyes)
        return checkpoints.load(folder, eyes=backbone)
    if eyes == "none":
        return checkpoints.load(STARTER_FOLDER)
    if packaged.kept(home) is None:
        progress("no pretrained eyes are kept here, so the starter has only ever seen drawings: models add eyes")
        return checkpoints.load(STARTER_FOLDER)
    return checkpoints.load(EYES_STARTER_FOLDER, eyes=ssd_tokens.kept(home))


def replay(base: Checkpoint, layout: Layout, recipe: Recipe, progress: Progress, *, cache: Path) -> list[Example]:
    """What the base knew: fresh rendered frames for one trained on rendered walks, nothing for a field model, whose
    past is the dataset itself.

    cache: where they are kept from night to night (server.learn.replayed)
    """
    if not base.known:
        return []
    drawing = replayed.ReplayDrawing(tuple(base.known), layout, REPLAY_OF_WALKS, recipe.seed)
    return replayed.frames(cache, drawing, recipe.replay, progress=progress)
