"""`python -m scripts.house`: figures about the code that a reader of it would feel, each with its bound.

class names       that stand for two or more things in device, server, shared and exporters
parameters        functions with seven or more
complexity        functions of radon's rank C (11 to 20), and above (none)
past the blobs    paths to a dataset's payload files that are made beside `Dataset.blobs` (ADR 0099)
unused            what vulture is at least 80 % sure nobody uses
"""

from __future__ import annotations

import ast
import gc
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from radon.complexity import cc_rank, cc_visit_ast

ROOT = Path(__file__).parents[1]
PACKAGES = ("device", "server", "shared", "exporters")
PRODUCT = (*PACKAGES, "scripts", "benchmarks")
# server/walks draws pictures: its recipes are long and branch a lot, and are not counted.
MOST_DUPLICATES, MANY_PARAMETERS, MOST_WITH_MANY, MOST_RANK_C = 10, 7, 11, 40
FILE_FIELDS = (".frame_path", ".audio_path", ".clip_path", ".correction_audio_path")
# What keeps logs and views in the dataset's folder, and what reads a folder of files that were gathered before.
OF_DATASET = ("server/commands/viewing.py", "server/dataset/folder.py", "server/dataset/view.py")
GATHERED = ("server/dataset/material.py", "server/evaluation/annotated.py", "server/gate/cases.py")
Function = ast.FunctionDef | ast.AsyncFunctionDef


def nodes(folders: tuple[str, ...]) -> Iterator[tuple[str, ast.AST]]:
    """(path, node) of every node of the code."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(_parsed(path)):
                yield str(path.relative_to(ROOT)), node


@cache
def _parsed(path: Path) -> ast.Module:
    """Four of the figures look at the same files."""
    return ast.parse(path.read_text(encoding="utf-8"))


def duplicate_classes() -> list[str]:
    """Names that several classes have, most often used first."""
    names = Counter(node.name for _, node in nodes(PACKAGES) if isinstance(node, ast.ClassDef))
    return [f"{name} ×{count}" for name, count in names.most_common() if count > 1]


def parameters(node: Function) -> int:
    """How many a caller may give: `self` and `cls` do not count."""
    names = [arg.arg for arg in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
    return len([name for name in names if name not in ("self", "cls")])


def many_parameters() -> list[str]:
    return [
        f"{path}:{node.lineno} {node.name} ({parameters(node)})"
        for path, node in nodes(PRODUCT)
        if isinstance(node, Function) and parameters(node) >= MANY_PARAMETERS
    ]


def complex_functions() -> tuple[list[str], list[str]]:
    """(of rank C, of a higher rank)"""
    ranks: dict[bool, list[str]] = {True: [], False: []}
    for folder in PRODUCT:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path.is_relative_to(ROOT / "server" / "walks"):
                continue
            for block in cc_visit_ast(_parsed(path)):
                if block.letter != "C" and (rank := cc_rank(block.complexity)) not in "AB":
                    ranks[rank == "C"].append(f"{path.relative_to(ROOT)}:{block.lineno} {block.fullname}")
    return ranks[True], ranks[False]


def past_blobs() -> list[str]:
    """`dataset.folder / …`, `home / "dataset" / …` and `… / row.frame_path`, where it is not the rows' own folder."""
    found = []
    for path, node in nodes(("server",)):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            left, right = ast.unparse(node.left), ast.unparse(node.right)
            in_dataset = left.endswith(("dataset.folder", "/ 'dataset'")) and path not in OF_DATASET
            of_row = right.endswith(FILE_FIELDS) and path not in (*OF_DATASET, *GATHERED)
            if in_dataset or of_row:
                found.append(f"{path}:{node.lineno} {left} / {right}")
    return found


def unused() -> list[str]:
    command = [sys.executable, "-m", "vulture", "--min-confidence", "80", *PRODUCT]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.splitlines()


def main() -> int:
    """Print each figure; 1 where one is out of bounds."""
    gc.disable()  # a million nodes are kept and none is garbage
    rank_c, above = complex_functions()
    bad = False
    for what, items, most in (
        ("class names for two or more things", duplicate_classes(), MOST_DUPLICATES),
        (f"functions with {MANY_PARAMETERS} or more parameters", many_parameters(), MOST_WITH_MANY),
        ("functions of complexity C", rank_c, MOST_RANK_C),
        ("functions above complexity C", above, 0),
        ("paths past a dataset's blobs", past_blobs(), 0),
        ("names that nobody uses", unused(), 0),
    ):
        print(f"{len(items):4} {what} (at most {most})")
        if len(items) > most:
            bad = True
            print(*(f"       {item}" for item in items), sep="\n")
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
