"""Texts that hold a text, in the words of the database."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Boolean, ColumnElement
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement


class _Holds(FunctionElement[bool]):
    """instr() of SQLite, strpos() of PostgreSQL: neither knows patterns, and both tell capitals."""

    type = Boolean()
    inherit_cache = True


def holds(column: ColumnElement[str], text: str) -> ColumnElement[bool]:
    """Whether a column holds a text, in any place."""
    return _Holds(column, text)


@compiles(_Holds)
def _instr(element: Any, compiler: SQLCompiler, **options: Any) -> str:
    return f"instr({compiler.process(element.clauses, **options)}) > 0"


@compiles(_Holds, "postgresql")
def _strpos(element: Any, compiler: SQLCompiler, **options: Any) -> str:
    return f"strpos({compiler.process(element.clauses, **options)}) > 0"
