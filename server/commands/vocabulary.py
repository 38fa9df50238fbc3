"""`waycue-server vocabulary`: may a sentence be said, what is wrong with it, and what may stand with what."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from server.commands.opening import print_json
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
