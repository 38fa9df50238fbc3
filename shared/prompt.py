"""What a model is asked, and the starter's own prompt: SmolVLM's chat form, without the space after "User:".

    <|im_start|>User:Guide me.<fake_token_around_image><global-img><image>*n<fake_token_around_image><end_of_utterance>
    Assistant: Stop, curb ahead.<end_of_utterance>

The starter was trained on exactly these tokens; `TEMPLATE` is the chat template that gives them, and lies in its
folder. Every other base is asked in the template that it brings (server.model.chat).

source: chat_template.json of HuggingFaceTB/SmolVLM2-256M-Video-Instruct (one image, splitting off)
"""

from __future__ import annotations

START = "<|im_start|>"
END = "<end_of_utterance>"
IMAGE = "<image>"
IMAGE_EDGE = "<fake_token_around_image>"
GLOBAL_IMAGE = "<global-img>"
SPECIAL_TOKENS = (START, END, IMAGE, IMAGE_EDGE, GLOBAL_IMAGE)
REQUEST = "Guide me."
TEMPLATE = (
    "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}"
    "{{ ': ' if message['role'] == 'assistant' else ':' }}"
    "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}"
    "{% elif part['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)


def before_image() -> str:
    return f"{START}User:{REQUEST}{IMAGE_EDGE}{GLOBAL_IMAGE}"


def after_image() -> str:
    return f"{IMAGE_EDGE}{END}\nAssistant:"


def between_images() -> str:
    """What stands between the previous picture and the newest, for a model that is given two."""
    return f"{IMAGE_EDGE}{IMAGE_EDGE}{GLOBAL_IMAGE}"


def answer(text: str) -> str:
    """What the model is to write after `after_image()`."""
    return f" {text}{END}"
