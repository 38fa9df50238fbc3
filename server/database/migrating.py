"""Brings a database's tables up to date, with Alembic and the steps of `migrations/versions`."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Engine

from shared.errors import ConfigError


def migrate(engine: Engine, steps: Path) -> None:
    """Do the steps of a folder that were not done. Raises: ConfigError where the database is newer than these."""
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
