"""A language that nobody speaks: every word of English backwards. No line of code knows it, only the folder."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from shared import model_card, vocabulary
from shared.languages import Language

CODE = "xx"
_WORD = re.compile(r"(?<!\{)\b[A-Za-z-]+\b(?!\})")


def backwards(text: str) -> str:
    """ "Stop, curb ahead." -> "Pots, bruc daeha." """
    turned = _WORD.sub(lambda word: word[0][::-1].lower(), text)
    return turned[:1].upper() + turned[1:] if text[:1].isupper() else turned


def write(parent: Path, announced: Iterable[str] = (), *, code: str = CODE) -> Path:
    """Write the language's folder into `parent`; returns `parent`. announced: what the device may announce"""
    folder = parent / code
    folder.mkdir(parents=True)
    language = {"name": "Sdrawkcab", "voice": "en-us", "guard": _GUARD}
    (folder / "language.toml").write_text(toml(language))
    (folder / "guidance.toml").write_text(toml(_guidance()))
    texts = {text: backwards(text) for text in announced if not text.startswith(("This model sees", "It does not see"))}
    texts["This model sees nothing."] = backwards("This model sees nothing.")
    for template in ("This model sees {things}.", "It does not see {things}."):
        texts[template] = backwards(template)
    joins = {"and": " dna ", "or": " ro "}
    (folder / "announcements.toml").write_text(toml({"joins": joins, "texts": texts}))
    words = {word[::-1]: word for word in sorted(vocabulary.lexicon())}
    (folder / "corrections.toml").write_text(toml({"nothing": ["gnihton"], "words": words}))
    (folder / "wearer.md").write_text("# Sdrawkcab\n")
    return parent


_GUARD = {
    "left": ["tfel"],
    "right": ["thgir"],
    "walk_on": [backwards(word) for word in ("turn", "keep", "move", "continue", "follow", "enter", "climb")],
    "never": [backwards(word) for word in ("safe", "clear", "free", "now")],
    "denials": [backwards(word) for word in ("not", "no", "never")],
    "most_words": {"1": 8, "2": 12, "3": 12},
}


def _guidance() -> dict[str, Mapping[str, object]]:
    loaded = vocabulary.load()
    alone = [text.removesuffix(".").lower() for text in vocabulary.manoeuvres()]
    states = [state for term in loaded.objects.values() for state in term.states]
    named = [term.several for term in loaded.objects.values()]
    several = dict.fromkeys([*model_card.plurals(loaded.objects), *named, model_card.MORE])
    return {
        "openers": {action: backwards(action.replace("step", "climb")) for action in (*vocabulary.actions(), *alone)},
        "objects": {name: {"is": backwards(name)} for name in loaded.objects},
        "sides": {name: {"is": backwards(name)} for name in loaded.sides},
        "modifiers": {name: f"{{object}} {backwards(name)} {{side}}" for name in (*loaded.modifiers, *states)},
        "exact": {vocabulary.CLEAR: backwards(vocabulary.CLEAR)},
        "several": {name: backwards(name) for name in several},
    }


def toml(value: Mapping[str, object]) -> str:
    """Tables of text, lists and tables."""
    return "".join(f"{json.dumps(key)} = {_inline(part)}\n" for key, part in value.items())


def _inline(value: object) -> str:
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{json.dumps(key)} = {_inline(part)}' for key, part in value.items())} }}"
    return json.dumps(value, ensure_ascii=False)


def guidance(language: Language) -> Mapping[str, str]:
    """Canonical sentence -> words, of a language that is not English."""
    assert language.tables is not None
    return language.tables.guidance


def change(folder: Path, files: Mapping[str, Mapping[str, Any]]) -> None:
    """Change entries of a written language: file -> section -> key -> value; a value for a section replaces it."""
    for name, sections in files.items():
        table = tomllib.loads((folder / name).read_text())
        for section, value in sections.items():
            merged = isinstance(value, Mapping) and isinstance(table.get(section), dict)
            table[section] = {**table[section], **value} if merged else value
        (folder / name).write_text(toml(table))
