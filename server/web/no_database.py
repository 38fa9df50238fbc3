"""What people are told where the database did not do what was asked."""

from __future__ import annotations

from sqlalchemy.exc import SQLAlchemyError

from server.database import full_disk

BUSY = "The server's database did not answer. Wait a moment and try again."
FULL = "The server's disk is full: nothing was saved. Tell whoever runs the server, and try again once there is room."


def in_words(error: SQLAlchemyError) -> str:
    """Why, and what to do. To wait helps nobody where the disk is full. Pure."""
    return FULL if full_disk.is_said_by(error) else BUSY
