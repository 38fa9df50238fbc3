"""The sentences of a correction as a net over a recogniser's tokens: which token may follow what was said so far. Pure.

A recogniser that is held to it can say nothing but corrections, so that its second and third guesses are corrections
too. Made from the same phrases as pocketsphinx's grammar.

source: constrained decoding over a finite automaton, as in `prefix_allowed_tokens_fn` of transformers
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from shared.speech.phrases import SaidPhrases

Tokens = tuple[int, ...]
Encode = Callable[[str], Sequence[int]]
"""Text → tokens; empty where it cannot be written in them."""
_Nodes = frozenset[int]
_START, _END, _STOPPED = 0, 1, 2
_OPENED, _NAMED, _DONE = 3, 4, 5  # before the article, after the thing, after its modifier
_TURNED, _TURNED_ARTICLE = 6, 7  # after a place at the front, and after the article behind it
_FREE = {_START: _OPENED, _NAMED: _DONE, _DONE: _END, _TURNED: _TURNED_ARTICLE}
"""Steps without a word: what stands between may be left out."""
_BEFORE_THING = 8
_FREE_ARTICLE = {_OPENED: _BEFORE_THING, _TURNED_ARTICLE: _BEFORE_THING}


class SentenceNet:
    """Over one vocabulary of tokens. Not safe from several threads."""

    def __init__(self, phrases: SaidPhrases, encode: Encode, end: int) -> None:
        """end: the token that ends a text"""
        self._encode = encode
        self._edges: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
        self._nodes = _BEFORE_THING + 1
        self._known: dict[Tokens, _Nodes] = {(): self._closed({_START})}
        self._end = end
        self._add(phrases)
        self._edges[_STOPPED].append((end, _STOPPED))
        self._edges[_END].append((end, _STOPPED))

    def following(self, said: Tokens) -> list[int]:
        """The tokens that may come after these, sorted; the end alone where these are no beginning of a sentence."""
        after = {token for node in self._at(said) for token, _ in self._edges.get(node, ())}
        return sorted(after) or [self._end]

    @property
    def is_empty(self) -> bool:
        """Whether there is no thing that the tokens can write."""
        return not self._edges.get(_BEFORE_THING)

    def _add(self, phrases: SaidPhrases) -> None:
        self._between(_START, _OPENED, phrases.openers, first=True, comma=True)
        for begin in (_OPENED, _TURNED_ARTICLE):
            self._between(begin, _BEFORE_THING, phrases.articles, first=begin == _OPENED)
        self._between(_BEFORE_THING, _NAMED, phrases.things, first=True)
        self._between(_NAMED, _DONE, phrases.modifiers)
        self._between(_DONE, _END, phrases.places)
        self._between(_START, _TURNED, phrases.places, first=True, comma=True)
        self._between(_START, _END, phrases.alone, first=True)
        for token in self._encode("."):
            self._edges[_END].append((token, _STOPPED))

    def _between(
        self, begin: int, end: int, phrases: Iterable[str], *, first: bool = False, comma: bool = False
    ) -> None:
        """first: it may begin the sentence, with a capital letter. comma: one may follow"""
        for phrase in phrases:
            self._chain(begin, end, f" {phrase}")
            starts = [f" {phrase[:1].upper()}{phrase[1:]}"] if first else []
            for start in starts:
                self._chain(_START, end, start)
            for spelt in (f" {phrase}", *starts) if comma else ():
                self._chain(_START, end, f"{spelt},")

    def _chain(self, begin: int, end: int, text: str) -> None:
        tokens, at = self._encode(text), begin
        for number, token in enumerate(tokens):
            if number == len(tokens) - 1:
                to = end
            else:
                to, self._nodes = self._nodes, self._nodes + 1
            self._edges[at].append((token, to))
            at = to

    def _at(self, said: Tokens) -> _Nodes:
        if said not in self._known:
            before = self._at(said[:-1])
            reached = {to for node in before for token, to in self._edges.get(node, ()) if token == said[-1]}
            self._known[said] = self._closed(reached)
        return self._known[said]

    def _closed(self, nodes: set[int]) -> _Nodes:
        """With all that is reached from them without a word."""
        found, new = set(nodes), set(nodes)
        while new:
            new = {free[node] for node in new for free in (_FREE, _FREE_ARTICLE) if node in free} - found
            found |= new
        return frozenset(found)
