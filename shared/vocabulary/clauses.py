"""Lexemes → openers and things, each thing with its own side and modifier. Pure.

Sides and modifiers belong to a thing of their own clause: what stands between two commas. "Hole, on the left the
sidewalk" does not put the hole on the left. Where it is not plain which thing a side is said of, or whose left is
meant, the text is refused: a thing to stop for that is moved beside the path would be no warning any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from shared.vocabulary.lexemes import THINGS, Lexeme, WordKind
from shared.vocabulary.table import ALERT, Slots, load, modifiers_of, tier


@dataclass(frozen=True, slots=True)
class Mention:
    """A thing in a text, with where and how it is."""

    object: str
    side: str = ""
    modifier: str = ""

    def slots(self, action: str = "") -> Slots:
        return Slots(action, self.object, self.side, self.modifier)

    @property
    def tier(self) -> int:
        return tier(self.slots())

    def __str__(self) -> str:
        return " ".join(filter(None, (self.object, self.modifier, self.side)))


@dataclass(slots=True)
class Understood:
    """What a text holds, piece by piece."""

    pieces: Sequence[Lexeme]
    openers: list[Lexeme] = field(default_factory=list)
    mentions: list[Mention] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    """Why no wording may be made."""
    families: list[tuple[str, ...]] = field(default_factory=list)
    """Things that may be meant by a word that names several."""
    strays: list[str] = field(default_factory=list)
    """Modifiers that no thing in the text may have."""
    unknown: list[str] = field(default_factory=list)
    negated: bool = False
    assured: bool = False
    """It is said to be safe, or time to go."""

    @property
    def spoken(self) -> list[Lexeme]:
        """The pieces without commas and full stops."""
        return [piece for piece in self.pieces if piece.kind is not WordKind.BREAK]

    @property
    def most_urgent(self) -> Mention | None:
        return min(self.mentions, key=lambda mention: mention.tier, default=None)


def understand(pieces: Sequence[Lexeme]) -> Understood:
    """Collect openers and things, clause by clause."""
    parser = _Parser(pieces)
    for at, piece in enumerate(pieces):
        parser.take(piece, pieces[at + 1 :])
    parser.end_clause()
    return parser.parsed


class _Parser:
    """One text while it is read."""

    def __init__(self, pieces: Sequence[Lexeme]) -> None:
        self.parsed = Understood(pieces)
        self._last: Lexeme | None = None
        """The newest piece that is no filler."""
        self._thing: int | None = None
        """The thing that a side or modifier would now be said of."""
        self._things = 0
        """Things of this clause."""
        self._side = ""
        """Waits for the next thing."""
        self._modifiers: list[str] = []
        """Wait likewise."""
        self._then = False
        """The clause tells what comes next: a side in it is no place of what was named before."""
        self._loose = ""
        """A side that had a clause of its own and was given to the thing before it."""

    def take(self, piece: Lexeme, rest: Sequence[Lexeme]) -> None:
        """The next piece. rest: what follows it"""
        match piece.kind:
            case WordKind.OPENER:
                self.parsed.openers.append(piece)
                self._thing = None
            case WordKind.OBJECT | WordKind.FAMILY:
                self._name(piece)
            case WordKind.SIDE:
                self._place(piece, rest)
            case WordKind.MODIFIER:
                if self._thing is None or not self._modify(self._thing, piece.value):
                    self._modifiers.append(piece.value)
            case WordKind.FILLER:
                if piece.text == "then":
                    self.end_clause(then=True)
                return
            case _:
                self._note(piece)
        self._last = piece

    def end_clause(self, *, then: bool = False) -> None:
        """A comma, a full stop, "then", or the end of the text."""
        if self._side:
            self._give_side_away()
        newest = len(self.parsed.mentions) - 1
        alone = not self._things and newest >= 0
        self.parsed.strays += [name for name in self._modifiers if not (alone and self._modify(newest, name))]
        self._modifiers, self._thing, self._things, self._then = [], None, 0, then

    def _note(self, piece: Lexeme) -> None:
        """What is neither part of an instruction nor a filler: it refuses the text, or ends a clause."""
        parsed = self.parsed
        match piece.kind:
            case WordKind.NEGATION:
                parsed.negated = True
                parsed.refusals.append(f"says {piece.text!r}: say what to do, not what not to do")
            case WordKind.ASSURANCE:
                parsed.assured = True
                parsed.refusals.append(f"says {piece.text!r}: that it is safe, or time to go, is never said")
            case WordKind.UNKNOWN:
                parsed.unknown.append(piece.text)
            case WordKind.BREAK:
                self.end_clause()
                if piece.text == "?":
                    parsed.refusals.append("asks a question: write what is to be said")

    def _name(self, piece: Lexeme) -> None:
        if self._loose and not self._side:
            self.parsed.refusals.append(f"says {self._loose!r} between two things: of which?")
        self.parsed.mentions.append(Mention(piece.value, self._side))
        self._thing, self._side = len(self.parsed.mentions) - 1, ""
        self._things += 1
        self._modifiers = [name for name in self._modifiers if not self._modify(self._thing, name)]

    def _place(self, piece: Lexeme, rest: Sequence[Lexeme]) -> None:
        if self._last is not None and self._last.kind is WordKind.OPENER and self._is_way(piece):
            return
        if self._is_relative(piece, rest):
            self.parsed.refusals.append(f"says {piece.text!r} of another thing: say where it is from the walker")
        elif self._thing is not None and not self.parsed.mentions[self._thing].side:
            self.parsed.mentions[self._thing] = replace(self.parsed.mentions[self._thing], side=piece.value)
        elif self._side not in ("", piece.value):
            self.parsed.refusals.append(f"says both {self._side!r} and {piece.value!r} of one thing")
        else:
            self._side = piece.value

    def _is_way(self, piece: Lexeme) -> bool:
        """ "Move to the left, bin ahead": the side is the direction that the opener before it lacks, or is refused."""
        opener = self.parsed.openers[-1]
        name, _, own = opener.value.partition(" ")
        rule, way = load().opener_rules[name], piece.value.split()[-1]
        if rule.care >= ALERT:
            return False
        if not piece.text.startswith("from ") and (own == way or (own, way) == ("straight", "ahead")):
            return True
        if not piece.text.startswith("from ") and opener.text == name and way in rule.ways:
            self.parsed.openers[-1] = replace(opener, value=f"{name} {way}", plain=False)
            return True
        self.parsed.refusals.append(f"says {f'{opener.text} {piece.text}'!r}: say 'move left' or 'keep left'")
        return True

    def _is_relative(self, piece: Lexeme, rest: Sequence[Lexeme]) -> bool:
        """Whether a side is said of another thing: "to the left of the door", "behind the door"."""
        between: list[str] = []
        following: WordKind | None = None
        for lexeme in rest:
            if lexeme.kind is not WordKind.FILLER:
                following = lexeme.kind
                break
            between.append(lexeme.text)
        named_next = following in THINGS
        if named_next and (piece.text in load().relative or "of" in between[:1]):
            return True
        placed = self._thing is not None and not self.parsed.mentions[self._thing].side
        return named_next and placed and any(text in ("the", "a", "an", "of", "and") for text in between[:1])

    def _give_side_away(self) -> None:
        """A clause that is only a side: of the thing before it where that has none yet, else of the next thing."""
        side, mentions = self._side, self.parsed.mentions
        if not mentions:
            return  # "On the left, a cone."
        self._side = ""
        if not self._things and not self._then and not mentions[-1].side:
            mentions[-1] = replace(mentions[-1], side=side)
            self._loose = side
            return
        other = next((mention.side for mention in reversed(mentions) if mention.side), "")
        both = f"says both {other!r} and {side!r}" if other and not self._then else f"says {side!r}, but of what?"
        self.parsed.refusals.append(both)

    def _modify(self, at: int, name: str) -> bool:
        """Give a thing a modifier, where it may have it and has none."""
        mention = self.parsed.mentions[at]
        member = next((f.members[name] for f in load().families if mention.object in f.words and name in f.members), "")
        if member:
            self.parsed.mentions[at] = replace(mention, object=member)
            return True
        if name in mention.object.split() or mention.modifier == name:
            return True
        if mention.modifier or mention.object not in load().objects or name not in modifiers_of(mention.object):
            return False
        self.parsed.mentions[at] = replace(mention, modifier=name)
        return True
