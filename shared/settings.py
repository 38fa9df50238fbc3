"""Settings files: one TOML file read into frozen dataclasses, one per section, checked once, then frozen.

Order: the defaults in the dataclasses, the file, the command line. An unknown section or key is an error with a hint at
the nearest known one: a setting with a slip in its name must not silently stay at its default. The type and the
bounds of a setting stand beside its field: `threads: Annotated[int, Meta(ge=1, le=64)] = 2`.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
import tomllib
import types
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from shared.errors import ConfigError

DEFAULT_PORT = 1883
DEFAULT_TLS_PORT = 8883
Config = TypeVar("Config")


def read(defaults: Config, path: Path | None, overrides: Mapping[str, Any] | None = None) -> Config:
    """`defaults` with the file's settings over it, and the command line's over those.

    defaults: a frozen dataclass whose fields are frozen dataclasses, one per section
    overrides: "section.key" → value; None values are ignored
    raises: ConfigError naming the setting, what is wrong and what to write instead
    """
    raw: dict[str, Any] = {} if path is None else _parse(path)
    config: Any = defaults
    sections = {item.name: item for item in fields(config)}
    for name, table in raw.items():
        if name not in sections:
            raise ConfigError(f"{path}: there is no section [{name}].", hint=_nearest(name, sections))
        if not isinstance(table, dict):
            raise ConfigError(f"{path}: {name} must be a section.", hint=f"Write [{name}] on a line of its own.")
        config = replace(config, **{name: _section(getattr(config, name), table, f"{path}: {name}")})
    for dotted, value in (overrides or {}).items():
        if value is not None:
            name, key = dotted.split(".")
            section = _section(getattr(config, name), {key: value}, f"the command line: {name}")
            config = replace(config, **{name: section})
    return config  # type: ignore[no-any-return]  # still of the type of `defaults`


def section(defaults: Config, path: Path, name: str) -> Config:
    """One section of a file of several, `defaults` where it is not there. Raises: ConfigError."""
    table = _parse(path).get(name, {})
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: {name} must be a section.", hint=f"Write [{name}] on a line of its own.")
    return _section(defaults, table, f"{path}: {name}")  # type: ignore[no-any-return]  # still of its type


def tables(kind: type[Config], path: Path) -> dict[str, Config]:
    """A file of tables of one kind, by their names, in their order. Raises: ConfigError."""
    return _tables(kind, _parse(path), f"{path}: ")


def address(text: str, *, what: str = "broker address", default_port: int = DEFAULT_PORT) -> tuple[str, int]:
    """(host, port) of HOST, HOST:PORT or [IPV6]:PORT. Raises: ConfigError."""
    parsed = re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[^:\[\]\s]+)(?::([0-9]{1,5}))?", text)
    port = int(parsed[2] or default_port) if parsed else 0
    if parsed is None or not 0 < port < 65536:
        raise ConfigError(
            f"The {what} {text!r} is not HOST:PORT.", hint=f"Write for example 192.168.1.10:{default_port}."
        )
    return parsed[1].strip("[]"), port


def is_loopback(host: str) -> bool:
    """Whether only this machine can be behind `host`: the one place where plain TCP is let through."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))  # editors of Windows begin with a BOM
    except OSError as error:
        raise ConfigError(f"The settings {path} cannot be read ({error.strerror}).") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(
            f"The settings {path} are not TOML: {error}.", hint='Write for example: name = "anna"'
        ) from None


def _section(section: Any, table: Mapping[str, Any], where: str) -> Any:
    hints = get_type_hints(type(section), include_extras=True)
    for key, value in table.items():
        if key not in hints:
            raise ConfigError(f"{where}.{key} is no setting.", hint=_nearest(key, hints))
        section = replace(section, **{key: _typed(hints[key], value, f"{where}.{key}")})
    return section


def _typed(hint: Any, value: Any, where: str) -> Any:
    """`value` as the field's type, inside the bounds beside it; an integer will do for a float."""
    if get_origin(hint) is Mapping:  # tables of one kind, by their names: [section.setting.NAME]
        return _tables(get_args(hint)[1], value, where)
    try:
        return msgspec.convert(value, hint)
    except msgspec.ValidationError:
        raise ConfigError(f"{where} is {value!r}.", hint=_wanted(hint, value)) from None


def _wanted(hint: Any, value: Any) -> str:
    """What to write instead of `value`."""
    if get_origin(hint) in (Union, types.UnionType):
        hint = next(kind for kind in get_args(hint) if kind is not type(None))
    if get_origin(hint) is Literal:
        return f"Use one of: {', '.join(map(str, get_args(hint)))}."
    kind, bounds = get_args(hint)[:2] if get_origin(hint) is Annotated else (hint, None)
    if get_origin(kind) is tuple or kind is tuple:
        return 'It must be a list, such as ["one", "two"].'
    if bounds is not None and type(value) in (kind, int):
        return f"It must be {_bounds(bounds)}."
    wanted = {"str": "text in quotes", "int": "a whole number", "float": "a number", "bool": "true or false"}
    return f"It must be {wanted[kind.__name__]}."


def _bounds(meta: msgspec.Meta) -> str:
    """In words: "1 to 30", "more than 0, at most 1"."""
    if meta.ge is not None and meta.le is not None:
        return f"{meta.ge:g} to {meta.le:g}"
    parts = (
        ("at least", meta.ge),
        ("more than", meta.gt),
        ("at most", meta.le),
        ("less than", meta.lt),
        ("of characters at least", meta.min_length),
        ("of characters at most", meta.max_length),
    )
    return ", ".join(f"{words} {bound:g}" for words, bound in parts if bound is not None)


def _tables(kind: Any, value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(table, dict) for table in value.values()):
        section = where.rpartition(": ")[2]
        raise ConfigError(f"{where} must hold tables.", hint=f"Write [{section}.NAME] on a line of its own.")
    return {name: _section(kind(), table, f"{where}.{name}") for name, table in value.items()}


def within(name: str, value: float, least: float, most: float) -> None:
    """For bounds that hang on another setting; the others stand beside the field. Raises: ConfigError."""
    if not least <= value <= most:
        raise ConfigError(f"{name} is {value}.", hint=f"It must be {least:g} to {most:g}.")


def refuse_near(
    name: str, value: str, keywords: Mapping[str, str], *, instead: Mapping[str, str] | None = None
) -> None:
    """For text that is a name unless it is one of a few words: a slip in such a word must not become a name.

    keywords: each with what it stands for. instead: words that people try, with what to write.
    raises: ConfigError naming the nearest word
    """
    if value in keywords:
        return
    plain = value.strip().lower()
    hint = (instead or {}).get(plain, "")
    close = difflib.get_close_matches(plain, keywords, n=1, cutoff=0.8)
    if plain in keywords:
        close = [plain]
    if close:
        hint = f"Did you mean {close[0]}: {keywords[close[0]]}?"
    if hint:
        raise ConfigError(f"{name} is {value!r}.", hint=hint)


def _nearest(name: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean {close[0]}?" if close else f"There are: {', '.join(known)}."
