"""The net that holds a recogniser to corrections, over one token for each word and mark."""

from __future__ import annotations

import re

import pytest

from server.speech.sentence_net import SentenceNet
from shared import languages
from shared.speech.phrases import phrases

END = 0
_words: dict[str, int] = {}


def encode(text: str) -> list[int]:
    return [_words.setdefault(word, len(_words) + 1) for word in re.findall(r"[^\W\d_]+(?:['-]\w+)*|[.,]", text)]


def is_sentence(net: SentenceNet, text: str) -> bool:
    said: tuple[int, ...] = ()
    for token in (*encode(text), END):
        if token not in net.following(said):
            return False
        said = (*said, token)
    return True


@pytest.fixture(scope="module", params=["en", "de", "es"])
def net(request: pytest.FixtureRequest) -> tuple[str, SentenceNet]:
    return request.param, SentenceNet(phrases(languages.load(request.param)), encode, END)


SAID = {
    "en": ("Caution, cone on the left.", "cone ahead", "there is a bike on your right", "Curb", "on the left a cone",
           "turn left", "nothing there", "stairs down ahead"),
    "de": ("Vorsicht, mülltonne links.", "mülltonne links", "nichts"),
    "es": ("papelera a la izquierda",),
}  # fmt: skip
NEVER = ("it is safe to cross", "cone cone", "on the left", "caution", "Caution, cone on the", "hello cone ahead", "")


def test_corrections_are_sentences_of_the_net_and_nothing_else_is(net: tuple[str, SentenceNet]) -> None:
    code, own = net
    assert [text for text in SAID[code] if not is_sentence(own, text)] == []
    assert [text for text in NEVER if is_sentence(own, text)] == []


def test_what_is_no_beginning_of_a_sentence_can_only_end() -> None:
    own = SentenceNet(phrases(languages.load("en")), encode, END)
    assert own.following((10**6,)) == [END]
    assert not own.is_empty
    assert SentenceNet(phrases(languages.load("en")), lambda text: [], END).is_empty
