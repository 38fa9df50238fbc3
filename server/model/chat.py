"""The prompt: one turn in the base's own chat template, as token ids cut at the pictures.

    [text, picture(, picture)] of one user turn
        → the tokenizer's apply_chat_template with the generation prompt
        → each placeholder expanded as the base's own processor does for a picture that is not split
        → ids of the whole text in one go, as the processor gives them; cut at the runs of picture tokens
        → before | between | after

The text comes first, so that nearly all of the prompt lies before the picture and its KV is kept. An answer begins with
a space, whatever the template ends in: the grammar spells sentences so (shared.runtime.grammar), and a base learns it.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from transformers.configuration_utils import PretrainedConfig
from transformers.models.smolvlm.processing_smolvlm import get_image_prompt_string
from transformers.processing_utils import ProcessorMixin
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from shared import prompt
from shared.errors import ConfigError

FAMILIES = ("smolvlm", "idefics3")
"""Types of models whose processors place a picture as `get_image_prompt_string` does."""
_ANSWER = "Stop, curb ahead."
_HINT = "Use a SmolVLM-type checkpoint that was tuned for chats, e.g. HuggingFaceTB/SmolVLM2-256M-Video-Instruct."


@dataclass(frozen=True, slots=True)
class Prompt:
    """What stands around the pictures, and what ends an answer."""

    before: tuple[int, ...]
    between: tuple[int, ...]
    """After each picture but the newest, the same everywhere; empty where one is shown."""
    after: tuple[int, ...]
    end_id: int


def read(tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig, *, frames: int, image_tokens: int) -> Prompt:
    """The prompt for a base with so many pictures of so many tokens each.

    raises: ConfigError where it has no chat template or no picture token, or its tokenizer is another model's
    """
    image_id = _image_id(tokenizer, config)
    text = _asked(tokenizer, frames)
    ids = _ids(tokenizer, _expanded(tokenizer, text, image_tokens))
    parts = [tuple(run) for picture, run in itertools.groupby(ids, key=lambda token: token == image_id) if not picture]
    if ids.count(image_id) != frames * image_tokens or len(parts) != frames + 1 or len(set(parts[1:-1])) > 1:
        raise ConfigError(
            f"The chat template gives {ids.count(image_id)} picture tokens, {frames * image_tokens} are needed.",
            hint=_HINT,
        )
    return Prompt(parts[0], () if frames == 1 else parts[1], parts[-1], _end_id(tokenizer, frames))


def asked(
    tokenizer: PreTrainedTokenizerBase,
    config: PretrainedConfig,
    question: str,
    *,
    frames: int,
    image_tokens: int,
    system: str = "",
) -> list[int]:
    """Ids of a question about so many pictures, these first as the base's own processor has it, up to the answer.

    raises: ConfigError as `read`
    """
    image_id = _image_id(tokenizer, config)
    plain = [{"type": "text", "text": text.replace(prompt.IMAGE, "")} for text in (system, question)]
    turns: list[dict[str, Any]] = [{"role": "system", "content": plain[:1]}] if system else []
    turns.append({"role": "user", "content": [*[{"type": "image"}] * frames, plain[1]]})
    text = _rendered(tokenizer, turns, add_generation_prompt=True)
    ids = _ids(tokenizer, _expanded(tokenizer, text, image_tokens))
    if ids.count(image_id) != frames * image_tokens:
        raise ConfigError(
            f"The chat template gives {ids.count(image_id)} picture tokens, {frames * image_tokens} are needed.",
            hint=_HINT,
        )
    return ids


def answer_ids(tokenizer: PreTrainedTokenizerBase, text: str, end_id: int) -> list[int]:
    """What the model is to write after the prompt."""
    return [*tokenizer(f" {text}", add_special_tokens=False).input_ids, end_id]


def template(name: str) -> str | None:
    """The chat template that a checkpoint's processor uses, by hub name or folder; None where it leaves that to its
    tokenizer. Raises: OSError."""
    processor, _ = ProcessorMixin.get_processor_dict(name, local_files_only=Path(name).exists())
    given = processor.get("chat_template")
    return given.get("default") if isinstance(given, dict) else given


def _asked(tokenizer: PreTrainedTokenizerBase, frames: int) -> str:
    text = _rendered(tokenizer, _turn(frames), add_generation_prompt=True)
    if text.count(prompt.IMAGE) != frames:
        raise ConfigError(
            f"The chat template places {text.count(prompt.IMAGE)} pictures of {frames}: it has no {prompt.IMAGE}.",
            hint=_HINT,
        )
    return text


def _turn(frames: int) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "text", "text": prompt.REQUEST}, *[{"type": "image"}] * frames]}]


def _rendered(tokenizer: PreTrainedTokenizerBase, turns: list[dict[str, Any]], *, add_generation_prompt: bool) -> str:
    if not tokenizer.chat_template:
        raise ConfigError("The base model has no chat template.", hint=_HINT)
    try:
        return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=add_generation_prompt))
    except (TemplateError, ValueError, TypeError) as error:
        raise ConfigError(f"The chat template does not take a request with a picture: {error}", hint=_HINT) from None


def _expanded(tokenizer: PreTrainedTokenizerBase, text: str, image_tokens: int) -> str:
    around, whole = (
        getattr(tokenizer, name, None) or usual
        for name, usual in (("fake_image_token", prompt.IMAGE_EDGE), ("global_image_token", prompt.GLOBAL_IMAGE))
    )
    shown: str = get_image_prompt_string(0, 0, image_tokens, around, prompt.IMAGE, whole)  # type: ignore[no-untyped-call]
    return text.replace(prompt.IMAGE, shown)


def _ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """As a processor tokenises what its template made: special tokens are added unless the text begins with one."""
    begins = tokenizer.bos_token is not None and text.startswith(tokenizer.bos_token)
    return [int(token) for token in tokenizer(text, add_special_tokens=not begins).input_ids]


def _image_id(tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig) -> int:
    kind, wanted = config.model_type, getattr(config, "image_token_id", None)
    if kind not in FAMILIES:
        raise ConfigError(f"How a model of type {kind!r} is shown a picture is not known.", hint=_HINT)
    mine = tokenizer.get_vocab().get(prompt.IMAGE)
    if mine is None or wanted is None:
        raise ConfigError(f"The base model has no picture token {prompt.IMAGE}.", hint=_HINT)
    if mine != wanted:
        raise ConfigError(
            f"The tokenizer calls {prompt.IMAGE} {mine}, the model {wanted}: they do not belong together.",
            hint="Put the tokenizer and the weights of one checkpoint into the folder.",
        )
    return int(mine)


def _end_id(tokenizer: PreTrainedTokenizerBase, frames: int) -> int:
    """The token that the template ends an assistant's turn with."""
    answer = {"role": "assistant", "content": [{"type": "text", "text": _ANSWER}]}
    rest = _rendered(tokenizer, [*_turn(frames), answer], add_generation_prompt=False).rpartition(_ANSWER)[2]
    ids = tokenizer(rest, add_special_tokens=False).input_ids if rest else []
    special = {token_id for token_id, token in tokenizer.added_tokens_decoder.items() if token.special}
    if not ids or ids[0] not in special:
        raise ConfigError("The chat template does not end an answer with a token of its own.", hint=_HINT)
    return int(ids[0])
