"""The prompt is the one that transformers makes for the same base: token for token, and logit for logit."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    PreTrainedTokenizerFast,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
)

from exporters.onnx.bundle import GoldenChunk, Label
from exporters.onnx.parity import compare
from server.evaluation import answers
from server.gate import golden
from server.learn import bundles
from server.learn.bases import STARTER_FOLDER
from server.model import chat, tokens
from server.model import checkpoint as checkpoints
from server.model.checkpoint import FIELD_TILE_PX, Checkpoint
from server.model.guide import Guide
from shared import bundle, prompt, vocabulary
from shared.errors import ConfigError
from shared.preprocess import prepare
from shared.runtime import GuidanceModel
from tests.server.learn.parts import flat, save_field_checkpoint

TURN = (
    "{% for message in messages %}{{message['role'] | capitalize}}{% if message['content'][0]['type'] == 'image' %}"
    "{{':'}}{% else %}{{': '}}{% endif %}{% for line in message['content'] %}{% if line['type'] == 'text' %}"
    "{{line['text']}}{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n"
    "{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
SMOLVLM = "<|im_start|>" + TURN  # chat_template.json of HuggingFaceTB/SmolVLM2-256M-Video-Instruct
IDEFICS3 = "<|begin_of_text|>" + TURN  # of HuggingFaceM4/Idefics3-8B-Llama3
GRANITE = (  # the form of ibm-granite/granite-docling-258M, an Idefics3 with roles as tokens
    "{% for message in messages %}<|start_of_role|>{{ message['role'] }}<|end_of_role|>"
    "{% for line in message['content'] %}{% if line['type'] == 'text' %}{{ line['text'] }}"
    "{% elif line['type'] == 'image' %}<image>{% endif %}{% endfor %}<|end_of_text|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start_of_role|>assistant<|end_of_role|>{% endif %}"
)
EDGE, GLOBAL, END = prompt.IMAGE_EDGE, prompt.GLOBAL_IMAGE, prompt.END
TEXTS = [
    "User: Guide me. User:Guide me. Assistant: Stop, curb ahead. Caution, pole on the left. user assistant",
    "Continue straight, path is clear. <global-img>",
] * 50


@dataclass(frozen=True)
class Family:
    template: str
    special: tuple[str, ...]
    bos: str
    end: str
    make: Callable[..., Any]
    config: Callable[..., Any]
    text: str
    """What transformers' processor makes of the request and one picture of n tokens; {image} stands for these."""


FAMILIES = {
    "smolvlm": Family(
        SMOLVLM, (prompt.START, END, prompt.IMAGE, EDGE, GLOBAL), prompt.START, END,
        SmolVLMForConditionalGeneration, SmolVLMConfig,
        f"{prompt.START}User: Guide me.{EDGE}{GLOBAL}{{image}}{EDGE}{END}\nAssistant:",
    ),
    "idefics3": Family(  # <global-img> is no token of its own here: it is spelled in pieces
        IDEFICS3, ("<|begin_of_text|>", END, prompt.IMAGE, EDGE), "<|begin_of_text|>", END,
        Idefics3ForConditionalGeneration, Idefics3Config,
        f"<|begin_of_text|>User: Guide me.{EDGE}{GLOBAL}{{image}}{EDGE}{END}\nAssistant:",
    ),
    "granite": Family(
        GRANITE,
        ("<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>", prompt.IMAGE, EDGE, GLOBAL),
        "<|end_of_text|>", "<|end_of_text|>", Idefics3ForConditionalGeneration, Idefics3Config,
        f"<|start_of_role|>user<|end_of_role|>Guide me.{EDGE}{GLOBAL}{{image}}{EDGE}<|end_of_text|>\n"
        "<|start_of_role|>assistant<|end_of_role|>",
    ),
}  # fmt: skip


def tokenizer_of(family: Family) -> PreTrainedTokenizerFast:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=420, special_tokens=list(family.special), initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(TEXTS, trainer)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # transformers' own gap
        tokenizer_object=made,
        bos_token=family.bos,
        eos_token=family.end,
        pad_token=family.end,
        additional_special_tokens=[t for t in family.special if t not in (family.bos, family.end)],
        chat_template=family.template,
    )


def save_family(folder: Path, family: Family) -> Path:
    torch.manual_seed(3)
    tokenizer = tokenizer_of(family)
    config = family.config(
        image_token_id=tokenizer.convert_tokens_to_ids(prompt.IMAGE),
        tie_word_embeddings=False,
        scale_factor=2,
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": FIELD_TILE_PX,
            "patch_size": FIELD_TILE_PX // 4,
        },
        text_config={
            "model_type": "llama",
            "vocab_size": len(tokenizer),
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 16,
            "max_position_embeddings": 128,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.eos_token_id,
            "initializer_range": 0.2,
        },
    )
    family.make(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> Family:
    return FAMILIES[request.param]


@pytest.fixture
def base(family: Family, tmp_path: Path) -> Checkpoint:
    return checkpoints.load(save_family(tmp_path / "base", family))


def whole(of: Checkpoint) -> list[int]:
    """The prompt with its picture tokens in place."""
    image = [int(of.model.config.image_token_id)] * of.image_tokens
    between = [*of.between_ids(), *image] if of.frames == 2 else []
    return [*of.before_ids(), *image, *between, *of.after_ids()]


def test_the_ids_are_those_of_the_template_with_the_picture_expanded(base: Checkpoint, family: Family) -> None:
    text = family.text.format(image=prompt.IMAGE * base.image_tokens)
    assert whole(base) == base.tokenizer(text, add_special_tokens=False).input_ids
    assert base.end_id == base.tokenizer.convert_tokens_to_ids(family.end)
    assert base.tokenizer.decode(base.answer_ids("Stop, curb ahead.")) == f" Stop, curb ahead.{family.end}"


def test_two_pictures_are_two_placeholders_of_one_turn(base: Checkpoint, family: Family) -> None:
    base.frames = 2
    shown = f"{prompt.IMAGE * base.image_tokens}{EDGE}{EDGE}{GLOBAL}{prompt.IMAGE * base.image_tokens}"
    assert whole(base) == base.tokenizer(family.text.format(image=shown), add_special_tokens=False).input_ids


def test_the_first_logits_are_those_of_transformers_own_forward(base: Checkpoint) -> None:
    """Embeddings put together from three pieces, against input_ids and pixel_values as a processor gives them."""
    pixels = torch.from_numpy(prepare(flat(1), base.preprocessing))
    guide = Guide(base).eval()
    with torch.no_grad():
        ours = guide.answer_logits(guide.features(pixels), torch.zeros((1, 1), dtype=torch.long))[0, 0]
        theirs = base.model(input_ids=torch.tensor([whole(base)]), pixel_values=pixels[:, None]).logits[0, -1]
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert float(theirs.std()) > 0.01, "logits that are all alike would prove nothing"


def test_an_answer_is_taught_as_the_smolvlm_template_writes_it(tmp_path: Path) -> None:
    base = checkpoints.load(save_family(tmp_path / "base", FAMILIES["smolvlm"]))
    turns: Any = [
        {"role": "user", "content": [{"type": "text", "text": prompt.REQUEST}, {"type": "image"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "Stop, curb ahead."}]},
    ]
    text = str(base.tokenizer.apply_chat_template(turns, tokenize=False))
    expanded = text.replace(prompt.IMAGE, f"{EDGE}{GLOBAL}{prompt.IMAGE * base.image_tokens}{EDGE}")
    ids = base.tokenizer(expanded, add_special_tokens=False).input_ids
    taught = [*whole(base), *base.answer_ids("Stop, curb ahead.")]
    assert ids[: len(taught)] == taught


@pytest.mark.parametrize("frames", [1, 2])
@pytest.mark.parametrize("name", FAMILIES)
def test_the_ids_are_those_of_transformers_own_processor(tmp_path: Path, name: str, frames: int) -> None:
    """Idefics3Processor serves all three: SmolVLM's places a picture alike, and needs torchvision for its videos."""
    from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
    from transformers.models.idefics3.processing_idefics3 import Idefics3Processor

    base = checkpoints.load(save_family(tmp_path / "base", FAMILIES[name]))
    base.frames = frames
    tile: Any = {"do_image_splitting": False, "size": {"longest_edge": 256}, "max_image_size": {"longest_edge": 256}}
    processor: Any = Idefics3Processor(
        image_processor=Idefics3ImageProcessorPil(**tile),
        tokenizer=base.tokenizer,
        image_seq_len=base.image_tokens,
        chat_template=FAMILIES[name].template,
    )
    content = [
        {"type": "text", "text": prompt.REQUEST},
        *[{"type": "image", "image": np.zeros((256, 256, 3), np.uint8)}] * frames,
    ]
    given = processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=True, return_dict=True
    )
    assert [int(one) for one in given["input_ids"][0]] == whole(base)


@pytest.mark.soak
@pytest.mark.parametrize("name", ["idefics3", "granite"])
def test_a_bundle_of_another_family_says_what_pytorch_says(tmp_path: Path, name: str) -> None:
    base = checkpoints.load(save_family(tmp_path / "base", FAMILIES[name]))
    label = Label("v1", base.name, "", "demo", dict(base.thresholds), 0.0)
    chunks = [GoldenChunk(flat(0), "curb", "ahead", False)]
    base.intended_use = "demo"  # compared on drawn pictures: there is no dataset
    moments = golden.parity_moments(base, tmp_path, [])[:10]
    plan = bundles.BundlePlan(label, chunks, moments)
    made = bundles.make_bundles(base, plan, tmp_path / "made", progress=lambda text: None)
    manifest = bundle.read_manifest(made.folder)
    assert manifest.model["before_ids"] == base.before_ids()
    assert manifest.model["after_ids"] == base.after_ids()
    assert manifest.model["end_id"] == base.end_id
    parity = compare(made.full, bundles.writer(base), moments)
    assert parity.same_tokens == 10 * 16, "PyTorch's answers of random weights are cut at 16 tokens: each of them"
    said = GuidanceModel.load(made.folder, threads=1, allow_demo=True)
    assert said.word(said.look(answers.rendered_cases(1)[0].image)).text.endswith(".")


def test_the_starter_is_asked_exactly_what_it_was_trained_on() -> None:
    """Ids as they were before the template: shared.prompt's text through the tokenizer."""
    starter = checkpoints.load(STARTER_FOLDER)
    assert starter.before_ids() == [0, 602, 30, 552, 596, 18, 3, 4]
    assert starter.after_ids() == [3, 1, 203, 601, 30]
    assert starter.answer_ids("Stop, curb ahead.") == [265, 16, 444, 327, 18, 1]
    starter.frames = 2
    ids = {"before": prompt.before_image(), "between": prompt.between_images(), "after": prompt.after_image()}
    for name, text in ids.items():
        assert list(getattr(starter.prompt, name)) == starter.tokenizer(text, add_special_tokens=False).input_ids
    for text in (vocabulary.CLEAR, *(vocabulary.instruct(name, "ahead") for name in vocabulary.load().objects)):
        assert starter.answer_ids(text) == starter.tokenizer(prompt.answer(text), add_special_tokens=False).input_ids
    assert (STARTER_FOLDER / "chat_template.jinja").read_text() == prompt.TEMPLATE


def test_a_saved_base_keeps_its_template(base: Checkpoint, tmp_path: Path) -> None:
    checkpoints.save(base, tmp_path / "saved")
    again = checkpoints.load(tmp_path / "saved")
    assert (again.prompt, again.tokenizer.chat_template) == (base.prompt, base.tokenizer.chat_template)


def test_the_processors_template_comes_before_the_tokenizers(tmp_path: Path) -> None:
    """As AutoProcessor has it; older checkpoints keep theirs in chat_template.json."""
    folder = save_family(tmp_path / "base", FAMILIES["smolvlm"])
    plain = checkpoints.load(folder).prompt
    (folder / "chat_template.jinja").unlink()
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": SMOLVLM}))
    assert checkpoints.load(folder).prompt == plain


BROKEN: dict[str, tuple[str, str]] = {
    "no template": ("", "has no chat template"),
    "text only": ("{{ messages[0]['content'][0]['text'] }}", r"places 0 pictures of 1"),
    "no end": (
        "{% for m in messages %}{% for c in m['content'] %}{{ c['text'] if c['type'] == 'text' else '<image>' }}"
        "{% endfor %}{% endfor %}",
        "does not end an answer",
    ),
    "an error": ("{{ raise_exception('Roles must alternate') }}", "Roles must alternate"),
    "no jinja": ("{% for %}", "does not take a request with a picture"),
    "strings only": ("{% for m in messages %}{{ m['content'] + '<image>' }}{% endfor %}", "does not take a request"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_base_whose_template_does_not_serve_is_refused_with_the_reason(tmp_path: Path, name: str) -> None:
    template, why = BROKEN[name]
    folder = save_field_checkpoint(tmp_path / "base")
    (folder / "chat_template.jinja").unlink()
    if template:
        (folder / "chat_template.jinja").write_text(template)
    with pytest.raises(ConfigError, match=rf"base.*cannot be used: .*{why}.*[Uu]se a SmolVLM-type"):
        checkpoints.load(folder)


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    folder = save_field_checkpoint(tmp_path / "base")
    tokenizer = tokens.build()
    tokenizer.add_tokens([f"word{n}" for n in range(20)])
    tokenizer.save_pretrained(folder)
    with pytest.raises(ConfigError, match=r"has \d+ tokens, its tokenizer 9\d\d: they do not belong together"):
        checkpoints.load(folder)
    tokenizer_of(FAMILIES["smolvlm"]).save_pretrained(folder)
    checkpoints.load(folder)  # the same picture token: nothing tells this one from its own
    tokenizer_of(FAMILIES["granite"]).save_pretrained(folder)
    with pytest.raises(ConfigError, match=r"calls <image> 3, the model 2: they do not belong together"):
        checkpoints.load(folder)


def test_a_base_without_a_picture_token_is_refused(tmp_path: Path) -> None:
    base = checkpoints.load(save_field_checkpoint(tmp_path / "base"))
    none = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # transformers' own gap
        tokenizer_object=Tokenizer(models.BPE()), chat_template=SMOLVLM
    )
    with pytest.raises(ConfigError, match="has no picture token <image>"):
        chat.read(none, base.model.config, frames=1, image_tokens=4)
    config: Any = base.model.config
    config.model_type = "llava"
    with pytest.raises(ConfigError, match="type 'llava' is shown a picture is not known"):
        chat.read(base.tokenizer, config, frames=1, image_tokens=4)
