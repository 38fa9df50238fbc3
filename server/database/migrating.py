"""Brings a database's tables up to date, with Alembic and the steps of `migrations/versions`."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError, ProgrammingError

from shared.errors import ConfigError

MIGRATIONS = Path(__file__).parent / "migrations"  # each step's file begins with its revision
READ_ONLY = "waycue_read_only"
"""Execution option of a connection that only reads."""


def bring_up_to_date(engine: Engine) -> None:
    """Do the steps that were not done. Raises: ConfigError where the database is newer than these, DBAPIError."""
    if not _is_current(engine):
        migrate(engine, MIGRATIONS)


def _is_current(engine: Engine) -> bool:
    """Whether the last step was done. Alembic itself, which takes 0.1 s to import, is needed for the others alone."""
    newest = max(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))
    with engine.connect().execution_options(**{READ_ONLY: True}) as connection:
        try:
            done = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalars().all()
        except (OperationalError, ProgrammingError) as error:  # a new database has no such table
            if error.connection_invalidated:
                raise
            return False
    return done == [newest]


def migrate(engine: Engine, steps: Path) -> None:
    """Do the steps of a folder that were not done. Raises: ConfigError where the database is newer than these."""
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(steps))
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise ConfigError(
                f"The database {engine.url} was written by a newer waycue ({error}).",
                hint="Install the newer version again, or restore the database from before the upgrade.",
            ) from None
        connection.commit()
