"""The table is the only list of words: no code holds a list of its own, but for the monitor, on purpose."""

from __future__ import annotations

import ast

import pytest

from shared import vocabulary
from tests.paths import ROOT

LOADED = vocabulary.load()
CANONICAL = {*LOADED.objects, *LOADED.openers, *LOADED.sides, *LOADED.modifiers}
OTHERS = {name for term in LOADED.objects.values() for name in term.names}
OTHERS |= {text for rule in LOADED.opener_rules.values() for texts in rule.also.values() for text in texts}
OTHERS |= {text for side in LOADED.side_rules.values() for text in side.also}
OTHERS |= {text for modifier in LOADED.modifier_rules.values() for text in modifier.also}
OTHERS -= CANONICAL
FREE = [
    ROOT / "shared" / "monitor.py",  # it must not know the table
    ROOT / "server" / "dataset" / "ground_classes.py",  # what public sets of masks call their classes
    ROOT / "server" / "eyes" / "classes.py",  # what detectors call theirs
]
FILES = [
    file
    for package in ("device", "exporters", "server", "shared")
    for file in sorted((ROOT / package).rglob("*.py"))
    if file not in FREE
]


def lists_of_words(source: str) -> list[list[str]]:
    """Lists, sets, tuples, keys and split texts of a module that name things in other words than the canonical ones."""
    found = []
    texts: list[object]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Dict):
            texts = [key.value for key in node.keys if isinstance(key, ast.Constant)]
        elif isinstance(node, ast.List | ast.Set | ast.Tuple):
            texts = [item.value for item in node.elts if isinstance(item, ast.Constant)]
        elif isinstance(node, ast.Attribute) and node.attr == "split" and isinstance(node.value, ast.Constant):
            texts = [*str(node.value.value).split()]
        else:
            continue
        words = [str(text) for text in texts if text in OTHERS]
        if len(words) > 1 and len(words) > len(texts) / 2:
            found.append(words)
    return found


@pytest.mark.parametrize("package", ["device", "exporters", "server", "shared"])
def test_no_module_lists_words_of_its_own(package: str) -> None:
    mine = [file for file in FILES if file.is_relative_to(ROOT / package)]
    assert mine
    found = {str(file.relative_to(ROOT)): lists_of_words(file.read_text(encoding="utf-8")) for file in mine}
    assert {name: words for name, words in found.items() if words} == {}


def test_a_list_of_words_is_found() -> None:
    assert lists_of_words('MAGNETS = frozenset(("pillar", "queue"))') == [["pillar", "queue"]]
    assert lists_of_words('EVERYDAY = "bench bike kerb".split()') == [["bench", "bike", "kerb"]]
    assert lists_of_words((ROOT / "shared" / "monitor.py").read_text(encoding="utf-8"))


def test_what_an_object_says_of_its_words_is_about_its_own() -> None:
    for term in LOADED.objects.values():
        assert {*term.everyday, *term.unheard} <= set(term.synonyms), term.name
        said = {word for name in (term.name, *term.synonyms) for word in name.replace("-", " ").split()}
        assert set(term.pronounced or {}) <= said, term.name
        assert set(term.modifiers) <= set(LOADED.modifiers), term.name
