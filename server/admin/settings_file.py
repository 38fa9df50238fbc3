"""The settings as a form: what each means and may be, and changes written into `waycue.toml` with its comments kept.

Rules that it keeps:

1. What may be set, its meaning and its bounds are read from the dataclasses of the settings: there is no second list.
2. A file is written only after the loader of the server has taken it; it appears whole or not at all.
3. A change names the bytes that the person saw: a file that was changed meanwhile is not written over.
4. Who has only the page gets no more of the machine by it: a command that the server runs and the paths of files with
   secrets are changed in the file alone.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import os
import textwrap
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import tomlkit
from tomlkit.exceptions import TOMLKitError

from shared import atomic, file_lock
from shared.errors import ConfigError, Refused

AT_NIGHT = ("learn", "gate", "budget", "export")
"""Sections that each night and command reads anew."""
IN_THE_FILE = ("broker.reload", "database.url")
"""A command, and where the server finds its accounts; beside them all whose names end in `_file`."""
Kind = Literal["choice", "switch", "whole", "number", "text", "list", "tables"]


@dataclass(frozen=True, slots=True)
class SettingLine:
    """One setting."""

    section: str
    name: str
    meaning: str
    kind: Kind
    default: Any
    running: Any
    """As this server was started with."""
    value: Any
    """As the file has it, or the default."""
    is_set: bool
    """It stands in the file."""
    choices: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None

    @property
    def waits(self) -> bool:
        """The server must be started anew for it."""
        return self.section not in AT_NIGHT and self.value != self.running

    @property
    def locked(self) -> bool:
        """It is changed in the file alone."""
        return self.kind == "tables" or self.name.endswith("_file") or f"{self.section}.{self.name}" in IN_THE_FILE

    @property
    def shown(self) -> str:
        """The value as a field of a form holds it."""
        return as_text(self.value)


@dataclass(frozen=True, slots=True)
class SettingsGroup:
    """One section."""

    name: str
    meaning: str
    lines: tuple[SettingLine, ...]
    at_night: bool


class SettingsFile:
    """The file of one server. check: reads a folder's `waycue.toml` as the server would, and raises ConfigError."""

    def __init__(self, path: Path, *, running: Any, check: Callable[[Path], Any]) -> None:
        self._path, self._running, self._check = path, running, check

    def mark(self) -> str:
        """Stands for the bytes of the file: a form sends it back."""
        try:
            return hashlib.sha256(self._path.read_bytes()).hexdigest()[:16]
        except OSError:
            return ""

    def groups(self) -> tuple[SettingsGroup, ...]:
        """Every section. Raises: ConfigError where the file cannot be read."""
        filed, written = self._check(self._path.parent), _document(_text(self._path))
        made = []
        for item in fields(self._running):
            kind, section = type(getattr(self._running, item.name)), written.get(item.name, {})
            lines = tuple(self._line(item.name, each.name, filed, section) for each in fields(kind))
            made.append(SettingsGroup(item.name, inspect.cleandoc(kind.__doc__ or ""), lines, item.name in AT_NIGHT))
        return tuple(made)

    def _line(self, section: str, name: str, filed: Any, written: Mapping[str, Any]) -> SettingLine:
        running, now = getattr(self._running, section), getattr(filed, section)
        kind, choices, bounds = _kind(_hints(type(running))[name])  # type: ignore[arg-type]  # as below
        return SettingLine(
            section,
            name,
            meanings(type(running)).get(name, ""),  # type: ignore[arg-type]  # mypy does not take a class as hashable
            kind,
            getattr(type(running)(), name),
            getattr(running, name),
            getattr(now, name),
            name in written,
            choices,
            *bounds,
        )

    def change(self, section: str, values: Mapping[str, str], *, seen: str) -> tuple[str, ...]:
        """Set the settings of a section; "" takes one out of the file, where text is not what it is. Returns the names
        that changed.

        values: setting → text as a form sends it; seen: the `mark` of the form
        raises: Refused for what changed meanwhile, ConfigError naming the setting and what to write instead, OSError
        """
        with file_lock.locked(self._path.with_name(".settings.lock")):
            if self.mark() != seen:
                raise Refused("The settings were changed meanwhile.", hint="Look again, then change what you wanted.")
            wanted = {line: values[line.name] for line in self._lines(section) if line.name in values}
            changed = {line: _parsed(line, text) for line, text in wanted.items() if text.strip() != line.shown}
            if changed:
                self._write(section, changed)
            return tuple(line.name for line in changed)

    def _lines(self, section: str) -> list[SettingLine]:
        """Those of a section that may be changed. Raises: Refused."""
        for group in self.groups():
            if group.name == section:
                return [line for line in group.lines if not line.locked]
        raise Refused(f"There is no section {section!r:.40}.")

    def _write(self, section: str, changed: Mapping[SettingLine, Any]) -> None:
        document = _document(_text(self._path))
        if section not in document:
            document.add(section, tomlkit.table())
        table: Any = document[section]
        for line, value in changed.items():
            if value is None or value == line.default:
                table.pop(line.name, None)
            else:
                table[line.name] = value
        data = tomlkit.dumps(document).encode()
        with TemporaryDirectory(prefix="waycue-settings-") as folder:
            candidate = Path(folder) / self._path.name
            atomic.write_bytes(candidate, data, mode=0o600)
            try:
                self._check(candidate.parent)
            except ConfigError as error:
                raise ConfigError(str(error).replace(f"{candidate}: ", "")) from None
        mode = os.stat(self._path).st_mode & 0o777
        atomic.write_bytes(self._path, data, mode=mode)


def as_text(value: Any) -> str:
    """A value as a field of a form holds it; a list as its items, a line each."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case tuple() | list():
            return "\n".join(map(str, value))
        case float():
            return f"{value:.15g}"
        case _:
            return str(value)


@cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    """Of a section's fields: evaluated once, not for each of them."""
    return get_type_hints(kind, include_extras=True)


@cache
def meanings(kind: type[Any]) -> dict[str, str]:
    """Setting → the docstring under its field."""
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    found: dict[str, str] = {}
    body = node.body if isinstance(node, ast.ClassDef) else []
    for field, below in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            text = below.value.value if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) else ""
            found[field.target.id] = " ".join(str(text).split())
    return found


def _kind(hint: Any) -> tuple[Kind, tuple[str, ...], tuple[float | None, float | None]]:
    """(kind, choices, bounds) of a field's annotation."""
    bounds: tuple[float | None, float | None] = (None, None)
    if get_origin(hint) in (Union, types.UnionType):
        hint = next(each for each in get_args(hint) if each is not type(None))
    if get_origin(hint) is Annotated:
        hint, meta = get_args(hint)[:2]
        low, high = getattr(meta, "ge", None), getattr(meta, "le", None)
        bounds = (low if low is not None else getattr(meta, "gt", None), high)
    if get_origin(hint) is Literal:
        return "choice", tuple(map(str, get_args(hint))), bounds
    if get_origin(hint) is Mapping or get_origin(hint) is dict:
        return "tables", (), bounds
    if get_origin(hint) is tuple:
        return "list", (), bounds
    kinds: dict[Any, Kind] = {bool: "switch", int: "whole", float: "number"}
    return kinds.get(hint, "text"), (), bounds


def _parsed(line: SettingLine, text: str) -> Any:
    """What a form sent, as TOML has it; None = take it out. Raises: ConfigError."""
    plain = text.strip()
    match line.kind:
        case "list":
            return [item.strip() for item in plain.splitlines() if item.strip()]
        case "switch":
            return plain == "true"
        case "choice":
            return int(plain) if isinstance(line.default, int) and plain.isdigit() else plain
        case "whole" | "number":
            return _number(line, plain) if plain else None
        case _:
            return plain


def _number(line: SettingLine, plain: str) -> int | float:
    try:
        return int(plain) if line.kind == "whole" else float(plain)
    except ValueError:
        wanted = "a whole number" if line.kind == "whole" else "a number"
        raise ConfigError(f"{line.section}.{line.name} is {plain!r:.40}.", hint=f"It must be {wanted}.") from None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The settings {path} cannot be read: {error}.") from None


def _document(text: str) -> tomlkit.TOMLDocument:
    try:
        return tomlkit.parse(text)
    except TOMLKitError as error:
        raise ConfigError(f"The settings are not TOML: {error}.") from None
