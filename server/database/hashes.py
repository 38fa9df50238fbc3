"""SHA-256 in the database: 32 bytes, and hexadecimal for everybody else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Dialect, LargeBinary, String
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator


class Hash(TypeDecorator[str]):
    """A column of hashes, read and written as 64 hexadecimal digits."""

    impl = LargeBinary
    cache_ok = True

    def bind_processor(self, _dialect: Dialect) -> Callable[[Any], Any]:
        return lambda value: None if value is None else bytes.fromhex(value)

    def result_processor(self, _dialect: Dialect, _coltype: object) -> Callable[[Any], Any]:
        return lambda stored: None if stored is None else bytes(stored).hex()


class HashDigits(FunctionElement[str]):
    """The digits of a hash, in SQL."""

    type = String()
    inherit_cache = True


@compiles(HashDigits)
def _in_sqlite(element: HashDigits, compiler: SQLCompiler, **options: Any) -> str:
    return f"lower(hex({compiler.process(element.clauses, **options)}))"


@compiles(HashDigits, "postgresql")
def _in_postgresql(element: HashDigits, compiler: SQLCompiler, **options: Any) -> str:
    return f"encode({compiler.process(element.clauses, **options)}, 'hex')"
