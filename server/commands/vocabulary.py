"""`waycue-server vocabulary`: may a sentence be said, what is wrong with it, and what may stand with what."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from server.commands.opening import add_json, opened, print_json
from server.dataset import own_words
from server.dataset.wording import lacks_subject
from shared import languages, vocabulary
from shared.languages import Language
from shared.languages.understood import canonical_words
from shared.vocabulary import tables

SAYABLE, NOT_SAYABLE = 0, 1


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command and its actions."""
    parser = commands.add_parser(
        "vocabulary",
        help="what may be said: check a sentence, print the table",
        description="Everything that guidance may say comes from one table. `check` explains a sentence as a teacher "
        "would, in the words in which the review page and the retrain read it.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    check = actions.add_parser(
        "check",
        help="may this be said, and if not, what would be right",
        epilog="Exit status: 0 = it may be said, as it is or in the wording shown; 1 = it may not. Of several "
        "sentences, 1 where any of them may not.",
    )
    check.add_argument("sentence", nargs="*", metavar="SENTENCE", help="in quotes; - reads one a line from the input")
    check.add_argument("--language", default="en", metavar="CODE", help="what they are written in (default: en)")
    check.add_argument("--json", action="store_true", help="print JSON: an object, or a list for several sentences")
    check.set_defaults(run=_check)
    table = actions.add_parser("table", help="which opener may stand with what, as Markdown")
    table.add_argument("--sentences", action="store_true", help="print every sentence that may be said instead")
    table.add_argument(
        "--language", default="en", metavar="CODE", help="with --sentences: and, after a tab, how it is spoken there"
    )
    table.set_defaults(run=_table)
    _words_parsers(actions)


def _words_parsers(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    listed = actions.add_parser(
        "proposed",
        help="words that people use for things and the vocabulary does not know",
        description="Collected where words were refused because of one thing in them, and from spoken corrections that "
        "wait and were not understood. `add` makes one another word for a thing, `drop` forgets it.",
    )
    add_json(listed, "them")
    listed.set_defaults(run=_proposed)
    add = actions.add_parser(
        "add",
        help="other words for a thing: plank obstacle",
        description=f"Written into {own_words.FILE} in the home, whose version rises. A running server understands "
        "them within a minute, also in corrections that were not understood before; what is said stays the table's.",
    )
    add.add_argument("words", metavar="WORDS", help='what people say, such as "wheelie bin"')
    add.add_argument("thing", metavar="THING", help="a thing of `vocabulary table`, such as bin")
    add.set_defaults(run=_add)
    drop = actions.add_parser("drop", help="forget words that were proposed")
    drop.add_argument("words", metavar="WORDS", help="of `vocabulary proposed`")
    drop.set_defaults(run=_drop)


def _proposed(options: argparse.Namespace) -> int:
    from server.review import decisions, proposed

    with opened(options.home) as (store, _dataset):
        found = proposed.listed(store, decisions.listing(store, limit=proposed.LOOKED_THROUGH))
    if options.json:
        print_json([asdict(word) for word in found])
        return SAYABLE
    for word in found:
        print(f"{word.words}   {word.count} moments, from {', '.join(word.people)}")
        print("\n".join((*(f"    “{text}”" for text in word.texts), f"    such as {word.sample_ids[0]}")))
    print("To add one: waycue-server vocabulary add WORDS THING" if found else "No words were proposed.")
    return SAYABLE


def _add(options: argparse.Namespace) -> int:
    with opened(options.home) as (store, _dataset):
        version = own_words.add(store.home, options.words, options.thing)
    print(f"“{options.words}” means {options.thing} here from now on ({own_words.FILE}, version {version}).")
    return SAYABLE


def _drop(options: argparse.Namespace) -> int:
    from server.review import proposed

    with opened(options.home) as (store, _dataset):
        count = proposed.drop(store, options.words)
    print(f"“{options.words}” was forgotten, of {count} moments." if count else "Nobody has proposed such words.")
    return SAYABLE if count else NOT_SAYABLE


def _check(options: argparse.Namespace) -> int:
    language = languages.load(options.language)
    own_words.use(options.home)
    readings = [_read(language, text) for text in _sentences(options.sentence)]
    if options.json:
        values = [as_json(reading) for reading in readings]
        print_json(values[0] if len(values) == 1 else values)
    else:
        print("\n\n".join("\n".join(explained(reading)) for reading in readings))
    return SAYABLE if readings and all(reading.sayable for reading in readings) else NOT_SAYABLE


def _read(language: Language, text: str) -> vocabulary.Reading:
    """A text as it is, or the canonical words for one in another language."""
    if language.tables is None:
        return vocabulary.read(text)
    return vocabulary.read(languages.understood(language, text) or canonical_words(language, text))


def _sentences(arguments: Sequence[str]) -> Iterator[str]:
    """Those of the command line; in the place of "-", or where there are none, the lines of the input."""
    for argument in arguments or ["-"]:
        if argument == "-":
            yield from (line.rstrip("\n") for line in sys.stdin)
        else:
            yield argument


def as_json(reading: vocabulary.Reading) -> dict[str, Any]:
    """A reading for scripts; its shape is documented in docs/formats.md."""
    return {**asdict(reading), "sayable": reading.sayable, "as_written": reading.as_written}


def explained(reading: vocabulary.Reading) -> Iterator[str]:
    """A reading in words, as a teacher would put it."""
    yield f"“{reading.text}”"
    if reading.as_written:
        yield "  may be said as it is."
        if reading.taught_as != reading.wording:
            yield f"  It is taught as “{reading.taught_as}”"
        return
    if reading.sayable:
        yield f"  You wrote “{reading.text}” → it will be taught as “{reading.taught_as}”"
    else:
        yield "  may not be said, and teaches nothing."
    yield from (f"  - {'It ' * lacks_subject(problem)}{problem}." for problem in reading.problems)
    if reading.lost:
        yield f"  Left out: {', '.join(reading.lost)}."
    for suggestion in reading.suggestions:
        yield f"  Did you mean “{suggestion}”?"


def _table(options: argparse.Namespace) -> int:
    if not options.sentences:
        print(tables.markdown(), end="")
        return SAYABLE
    language = languages.load(options.language)
    for text in vocabulary.sayable():
        print(text if language.tables is None else f"{text}\t{language.spoken(text)}")
    return SAYABLE
