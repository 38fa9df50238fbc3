"""`waycue-server database copy`: from SQLite into PostgreSQL."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from server import config
from server.commands.opening import add_json, print_json
from server.database import settings
from server.database.settings import DatabaseSettings
from server.maintenance.check_display import CheckDisplay
from shared.errors import ConfigError

DESCRIPTION = """\
Copies the database of this home from SQLite into an empty one of PostgreSQL. The server must not run meanwhile. Cut
off, it goes on with the same command. Media and logs stay in the home. At the end rows are counted on both sides, and
it says what to write into waycue.toml; the file of SQLite stays until you delete it, or until something is erased.

a database for it, as PostgreSQL's administrator:
  createuser --pwprompt waycue
  createdb --template=template0 --locale=C --encoding=UTF8 --owner=waycue waycue
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command and its action."""
    parser = commands.add_parser("database", help="move the database into PostgreSQL")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    copying = actions.add_parser(
        "copy",
        help="copy all rows from SQLite into PostgreSQL",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    copying.add_argument(
        "--to", required=True, metavar="URL", help="postgresql+psycopg://USER@HOST:PORT/NAME, without a password"
    )
    copying.add_argument(
        "--password-file", type=Path, metavar="FILE", help="file with the password (PGPASSWORD or ~/.pgpass)"
    )
    add_json(copying, "how many rows of each table were copied")
    copying.set_defaults(run=_copy)


def _copy(options: argparse.Namespace) -> int:
    try:
        from server.maintenance import copying
    except ImportError as error:
        raise ConfigError(
            f"PostgreSQL's driver is not installed ({error}).",
            hint='Install it: pip install "waycue[server-postgresql]"',
        ) from None

    config.load(options.home)
    file = str(options.password_file.expanduser().resolve()) if options.password_file else ""
    section = DatabaseSettings(url=options.to, password_file=file)
    url = settings.url_of(section)
    assert url is not None, "the option is required"
    with CheckDisplay() as display:
        try:
            report = copying.copy(options.home, url, told=display.show)
        except KeyboardInterrupt:
            print("Go on with the same command.", file=sys.stderr)
            raise
    if options.json:
        print_json({"rows": report.rows, "resumed": report.resumed})
        return 0
    total, tables = sum(report.rows.values()), sum(map(bool, report.rows.values()))
    print(f"{total} rows of {tables} tables are in PostgreSQL, counted on both sides. Now write into waycue.toml:")
    print(f'\n[database]\nurl = "{options.to}"' + (f'\npassword_file = "{file}"' if file else ""))
    return 0
