"""Any picture backbone by its name on the hub, or from a folder that save_pretrained wrote.

    transformers' backbones     DINOv2, ConvNeXt, SwinV2, ResNet, Hiera … (AutoBackbone's classes)
    vision transformers         SigLIP, CLIP, ViT … (AutoModel), also as the picture half of a larger model
    timm's models               "timm/NAME" of the hub or timm's own folder, where the package timm can be loaded

How pictures reach it is read from its preprocessor_config.json: nothing is guessed. A checkpoint that lacks weights of
its class is refused, for they would be random. The licence is what the model card states. A folder is never looked for
on the network.
"""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import ModelCard
from huggingface_hub.errors import HfHubHTTPError
from torch import Tensor, nn
from transformers import AutoBackbone, AutoConfig, AutoModel
from transformers import logging as transformers_logging
from transformers.image_processing_base import ImageProcessingMixin

from server.eyes.backbone import Backbone, Channels, Colours, MapBackbone, plan
from shared.errors import ConfigError

TIMM = "timm/"
SMALLEST_PX, LARGEST_PX = 32, 2048
_UNTAUGHT = ("hidden_states_norms", "mask_token", "pooler")
"""Weights of a backbone that its checkpoints do not have, and that do no harm: norms that begin as identity, and what
no map passes through."""
_TIMM_HINT = (
    "Install it with: pip install timm torchvision. torchvision must be of the same index as torch (for processors: "
    "--index-url https://download.pytorch.org/whl/cpu). Or use a backbone of transformers: facebook/dinov2-small."
)
transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # our own progress is the only voice


def load(name_or_folder: str | Path, *, size_px: int | None = None) -> Backbone:
    """A backbone in evaluation mode, float32.

    size_px: side of the pictures; by default what the checkpoint says
    raises: ConfigError where it cannot be had, is no picture backbone, lacks weights, or does not fit the size
    """
    name = str(name_or_folder)
    if name.startswith(TIMM) or _is_timm_folder(Path(name)):
        return _timm(name, size_px)
    config = configuration(name)
    processor = preprocessor(name)
    size = _size(name, processor, config, size_px)
    classes = AutoBackbone._model_mapping
    maps = _backbone(name, config) if type(config) in classes else _tower(name, size)
    return _on_grid(
        maps, name, licence(name), size, _colours(name, processor), patch_px=_whole(getattr(config, "patch_size", 0))
    )


def configuration(name: str) -> Any:
    """What kind of model it is. Raises: ConfigError."""
    try:
        return AutoConfig.from_pretrained(name, local_files_only=Path(name).exists())
    except (OSError, ValueError, KeyError) as error:
        raise _not_had(name, error) from error


def preprocessor(name: str) -> Mapping[str, Any]:
    """Its preprocessor_config.json. Raises: ConfigError."""
    try:
        found, _ = ImageProcessingMixin.get_image_processor_dict(name, local_files_only=Path(name).exists())
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{name!r} does not say how it takes pictures: it has no preprocessor_config.json.",
            hint="Put that file of its publisher beside the weights, or save its image processor there.",
        ) from error
    return dict(found)


def pretrained(kind: Any, name: str, **how: Any) -> Any:
    """The weights of a checkpoint in a class of transformers, all of them, in evaluation mode and float32.

    raises: ConfigError
    """
    local = Path(name).exists()
    try:
        with _quietly():
            model, report = kind.from_pretrained(
                name, dtype=torch.float32, output_loading_info=True, local_files_only=local, **how
            )
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        raise _not_had(name, error) from error
    missing = sorted(key for key in report["missing_keys"] if not any(part in key for part in _UNTAUGHT))
    if missing:
        raise ConfigError(
            f"{name!r} has no weights for {len(missing)} parts of a {type(model).__name__} ({missing[0]} and others).",
            hint="Use a checkpoint that was saved from this kind of model, whole.",
        )
    return model.eval()


def licence(name: str) -> str:
    """What the model card of a checkpoint states, "" = nothing."""
    card = Path(name) / "README.md" if Path(name).exists() else name
    if isinstance(card, Path) and not card.is_file():
        return ""
    try:
        data = ModelCard.load(card, ignore_metadata_errors=True).data
    except (OSError, ValueError, HfHubHTTPError):
        return ""
    stated = data.get("license_name") if data.get("license") == "other" else data.get("license")
    return ", ".join(map(str, stated)) if isinstance(stated, list) else str(stated or "")


@contextmanager
def _quietly() -> Iterator[None]:
    """Without transformers' own report of weights that a checkpoint lacks: `pretrained` judges them."""
    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        transformers_logging.set_verbosity(before)


def _not_had(name: str, error: Exception) -> ConfigError:
    return ConfigError(
        f"The model {name!r} could not be loaded: {error}",
        hint="Give the name of a model on the hub, or a folder that save_pretrained wrote.",
    )


class _Maps(nn.Module):
    """A backbone of transformers, as a network that gives maps."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Sequence[Tensor]:
        maps: Sequence[Tensor] = self.model(pixels).feature_maps
        return maps


class _Tower(nn.Module):
    """A vision transformer, as a network that gives one map: its last tokens without those that stand for no place."""

    def __init__(self, model: nn.Module, side: int, how: Mapping[str, Any]) -> None:
        super().__init__()
        self.model, self.side, self.how = model, side, dict(how)

    def forward(self, pixels: Tensor) -> Sequence[Tensor]:
        hidden: Tensor = self.model(pixel_values=pixels, **self.how).last_hidden_state
        if hidden.ndim == 4:
            return (hidden,)
        places = hidden[:, -self.side * self.side :].transpose(1, 2)
        return (places.reshape(len(places), -1, self.side, self.side),)


class _TimmMaps(nn.Module):
    """A model of timm; some of its transformers give their channels last."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model, self.channels = model, list(model.feature_info.channels())

    def forward(self, pixels: Tensor) -> Sequence[Tensor]:
        maps = zip(self.model(pixels), self.channels, strict=True)
        return [each if each.shape[1] == count else each.permute(0, 3, 1, 2) for each, count in maps]


def _backbone(name: str, config: Any) -> nn.Module:
    """The last map of a vision transformer, whose maps are all of one side; else all of them."""
    stages = len(config.stage_names)
    columnar = bool(_whole(getattr(config, "patch_size", 0))) and not hasattr(config, "depths")
    config.out_indices = [stages - 1] if columnar else list(range(stages))
    kind = AutoBackbone._model_mapping[type(config)]
    return _Maps(pretrained(kind, name, config=config))


def _tower(name: str, size_px: int) -> nn.Module:
    """Raises: ConfigError where it takes no pictures, or none of this size."""
    whole = pretrained(AutoModel, name)
    model = getattr(whole, "vision_model", whole)
    patch = _whole(getattr(model.config, "patch_size", 0))
    if model.main_input_name != "pixel_values" or not patch:
        raise ConfigError(
            f"{name!r} is a {type(whole).__name__}, which is no picture backbone.",
            hint="Use DINOv2, ConvNeXt, SwinV2, ResNet, SigLIP or the like, for example facebook/dinov2-small.",
        )
    if size_px == model.config.image_size:
        return _Tower(model, size_px // patch, {})
    if "interpolate_pos_encoding" not in inspect.signature(model.forward).parameters:
        raise ConfigError(
            f"{name!r} takes pictures of {model.config.image_size} px only, not of {size_px}.",
            hint=f"Use pictures of {model.config.image_size} px.",
        )
    return _Tower(model, size_px // patch, {"interpolate_pos_encoding": True})


def _is_timm_folder(folder: Path) -> bool:
    """timm's own config.json names an architecture, that of transformers a model type."""
    try:
        found = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and "architecture" in found and "model_type" not in found


def _timm(name: str, size_px: int | None) -> Backbone:
    """Raises: ConfigError where timm cannot be loaded, or has no such model."""
    try:
        import timm
    except (ImportError, RuntimeError) as error:  # RuntimeError: a torchvision that was built for another torch
        raise ConfigError(
            f"{name!r} needs the package timm, which cannot be loaded ({error}).", hint=_TIMM_HINT
        ) from error
    spec = f"hf-hub:{name}" if name.startswith(TIMM) else f"local-dir:{name}"
    try:
        model = timm.create_model(spec, pretrained=True, features_only=True)
    except (OSError, ValueError, KeyError, RuntimeError, AttributeError, HfHubHTTPError) as error:
        raise _not_had(name, error) from error
    takes = timm.data.resolve_model_data_config(model)
    size = size_px or int(takes["input_size"][-1])
    colours = Colours(tuple(takes["mean"]), tuple(takes["std"]))
    stated = licence(name) or str(model.pretrained_cfg.get("license") or "")
    return _on_grid(_TimmMaps(model), name, stated, size, colours)


def _on_grid(
    maps: nn.Module, name: str, stated: str, size_px: int, colours: Colours, *, patch_px: int = 0
) -> MapBackbone:
    """Measure the maps once, and plan the grid by them. Raises: ConfigError."""
    try:
        with torch.inference_mode():
            seen = maps.eval()(torch.zeros(1, 3, size_px, size_px))
    except (RuntimeError, ValueError) as error:
        raise ConfigError(f"{name!r} cannot look at pictures of {size_px} px: {error}") from error
    grid = plan([list(each.shape[1:]) for each in seen], size_px=size_px, name=name, patch_px=patch_px)
    return MapBackbone(maps, grid, name=name, licence=stated, size_px=size_px, colours=colours).eval()


def _size(name: str, processor: Mapping[str, Any], config: Any, wanted: int | None) -> int:
    """Side of its pictures. Raises: ConfigError."""
    given = processor.get("crop_size") if processor.get("do_center_crop", True) else None
    given = given or processor.get("size") or getattr(config, "image_size", 0)
    if isinstance(given, Mapping):
        given = given.get("height") or given.get("shortest_edge")
    size = wanted or _whole(given)
    if not SMALLEST_PX <= size <= LARGEST_PX:
        raise ConfigError(
            f"{name!r} says no size for its pictures, or one of {given} px.",
            hint=f"Its preprocessor_config.json must say one from {SMALLEST_PX} to {LARGEST_PX} px.",
        )
    return size


def _colours(name: str, processor: Mapping[str, Any]) -> Colours:
    """How it wants its channels. Raises: ConfigError."""
    scaled = processor.get("do_rescale", True) and math.isclose(processor.get("rescale_factor", 1 / 255), 1 / 255)
    if not scaled or processor.get("do_flip_channel_order", False):
        raise ConfigError(
            f"{name!r} takes its pictures in another form than RGB, 0..1, shifted and scaled.",
            hint="Use another backbone.",
        )
    if not processor.get("do_normalize", True):
        return Colours((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    mean, std = _channels(processor.get("image_mean")), _channels(processor.get("image_std"))
    if mean is None or std is None or min(std) <= 0:
        raise ConfigError(
            f"{name!r} does not say how it wants its colours: image_mean and image_std.",
            hint="Its preprocessor_config.json must give three numbers for each.",
        )
    return Colours(mean, std)


def _channels(values: Any) -> Channels | None:
    """Three numbers, else None."""
    if not isinstance(values, list) or len(values) != 3 or not all(isinstance(each, int | float) for each in values):
        return None
    red, green, blue = map(float, values)
    return red, green, blue


def _whole(value: Any) -> int:
    """A side that is given as one number, or as two that are the same; 0 where it is not."""
    if isinstance(value, list | tuple) and len(set(value)) == 1:
        value = value[0]
    return value if isinstance(value, int) else 0
