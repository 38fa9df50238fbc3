"""The vocabulary's grammar as an automaton over tokens: which token may come next in a sentence that may be said.

    action ","  thing [modifier] [side] "."  end         "Stop, curb ahead."   "Turn left, door ahead."
    manoeuvre "."  end                                   "Turn right at the corner."
    "Continue straight, path is clear."                  what a clear way is called, whether it is spoken or not

It lets through `vocabulary.sayable()` and `vocabulary.CLEAR`, and nothing else: which things may follow an action is
what the vocabulary's table says. Built from the vocabulary and a tokenizer when a bundle is loaded (0.1 s). Pieces are
tokenised as the tokenizer cuts whole sentences, so that a sentence has one spelling in tokens: the one that the model
was trained on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from shared import vocabulary

START = 0


@dataclass(slots=True)
class Grammar:
    """States are numbers; 0 is the start. Read only once built."""

    nodes: list[dict[int, int]] = field(default_factory=lambda: [{}])
    """For each state: token → next state."""
    _choices: dict[int, tuple[NDArray[np.int64], tuple[int, ...]]] = field(default_factory=dict)

    def choices(self, state: int) -> tuple[NDArray[np.int64], tuple[int, ...]]:
        """The tokens that may come next, int64 [n] rising, and the n states that they lead to."""
        if state not in self._choices:
            listed = sorted(self.nodes[state].items())
            self._choices[state] = np.array([token for token, _ in listed], np.int64), tuple(to for _, to in listed)
        return self._choices[state]

    def after(self, tokens: Sequence[int], state: int = START) -> int | None:
        """The state after some tokens, None where they leave the grammar."""
        for token in tokens:
            following = self.nodes[state].get(token)
            if following is None:
                return None
            state = following
        return state

    def forced(self, state: int, most: int) -> tuple[int, ...]:
        """The tokens that must come next, as far as there is no choice."""
        tokens: list[int] = []
        while len(tokens) < most and len(self.nodes[state]) == 1:
            ((token, state),) = self.nodes[state].items()
            tokens.append(token)
        return tuple(tokens)

    def tokens(self) -> list[int]:
        """Every token that occurs, rising."""
        return sorted({token for node in self.nodes for token in node})

    def longest(self) -> int:
        """Tokens of the longest sentence, with the end."""
        depth: dict[int, int] = {}
        for state in range(len(self.nodes) - 1, -1, -1):
            _depth(self.nodes, state, depth)
        return depth[START]

    def add_state(self, like: Mapping[int, int] | None = None) -> int:
        """A new state, with the ways out of another where given."""
        self.nodes.append(dict(like or {}))
        return len(self.nodes) - 1

    def add(self, tokens: Sequence[int], *, start: int = START, last: int) -> None:
        """A path of tokens from `start`, whose last token leads to `last`."""
        state = start
        for token in tokens[:-1]:
            if token not in self.nodes[state]:
                self.nodes[state][token] = self.add_state()
            state = self.nodes[state][token]
        self.nodes[state][tokens[-1]] = last


def build(tokenizer: Tokenizer, end_id: int) -> Grammar:
    """The grammar in a tokenizer's tokens; every sentence begins with a space and ends with `end_id`."""

    def encode(texts: Sequence[str]) -> list[list[int]]:
        return [list(encoding.ids) for encoding in tokenizer.encode_batch(list(texts), add_special_tokens=False)]

    grammar = Grammar()
    comma, stop = encode([",", "."])
    clear_action, _, clear = vocabulary.CLEAR.partition(", ")
    done = grammar.add_state()
    for ids in encode([f" {text.removesuffix('.')}" for text in vocabulary.manoeuvres()]):
        grammar.add([*ids, *stop, end_id], last=done)
    for things, alike in _by_things().items():
        body = grammar.add_state()
        for ids in encode([f" {thing}" for thing in things]):
            grammar.add([*ids, *stop, end_id], start=body, last=done)
        for action, ids in zip(alike, encode([f" {action.capitalize()}" for action in alike]), strict=True):
            to = body
            if action.capitalize() == clear_action:
                to = grammar.add_state(grammar.nodes[body])
                grammar.add([*encode([f" {clear}"])[0], end_id], start=to, last=done)
            grammar.add([*ids, *comma], last=to)
    return grammar


@cache
def _by_things() -> dict[tuple[str, ...], list[str]]:
    """What may follow "Action, " → the actions that it may follow: they share a part of the automaton."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for action in vocabulary.actions():
        said = (vocabulary.phrase(slots).partition(", ")[2].removesuffix(".") for slots in vocabulary.bodies(action))
        alike.setdefault(tuple(dict.fromkeys(said)), []).append(action)
    return alike


def _depth(nodes: list[dict[int, int]], state: int, known: dict[int, int]) -> int:
    if state not in known:
        known[state] = max((1 + _depth(nodes, to, known) for to in nodes[state].values()), default=0)
    return known[state]
