"""Where the server's database is: SQLite in the home, or PostgreSQL."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from shared import settings
from shared.errors import ConfigError

SETTINGS_FILE = "waycue.toml"
DRIVER = "postgresql+psycopg"
_EXAMPLE = "postgresql+psycopg://waycue@127.0.0.1:5432/waycue"


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """The database of rows, queues and people. Media and logs lie in the home with either."""

    url: str = ""
    """PostgreSQL as postgresql+psycopg://USER@HOST:PORT/NAME, without a password. Empty = SQLite in the home."""
    password_file: str = ""
    """File with the password of that user. Empty = PostgreSQL's own ways: none, PGPASSWORD, or ~/.pgpass."""


def of_home(home: Path) -> DatabaseSettings:
    """What the settings of a home say; the default where it has none yet. Raises: ConfigError."""
    path = home / SETTINGS_FILE
    return settings.section(DatabaseSettings(), path, "database") if path.is_file() else DatabaseSettings()


def url_of(section: DatabaseSettings) -> URL | None:
    """How PostgreSQL is reached, with its password; None = SQLite in the home. Raises: ConfigError."""
    if not section.url:
        return None
    url = checked(section.url, what="database.url")
    if not section.password_file:
        return url
    path = Path(section.password_file).expanduser()
    try:
        return url.set(password=path.read_text("utf-8").strip())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The file of database.password_file cannot be read ({error}).") from None


def checked(text: str, *, what: str) -> URL:
    """An address of PostgreSQL. Raises: ConfigError."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise ConfigError(f"The {what} is no address of a database.", hint=f"Write for example {_EXAMPLE}.") from None
    if url.drivername not in ("postgresql", "postgres", DRIVER) or not url.database:
        raise ConfigError(f"The {what} names no database of PostgreSQL.", hint=f"Write for example {_EXAMPLE}.")
    if url.password is not None or "password" in url.query:
        raise ConfigError(
            f"The {what} holds a password, and pages show it.",
            hint="Take it out, and write it into a file of its own (mode 600) that database.password_file names.",
        )
    return url.set(drivername=DRIVER)
