"""Answers to devices: each is counted, logged where a person may want to know, and worded here."""

from __future__ import annotations

import logging
from dataclasses import replace

from server.ingest.counters import DailyCounts
from shared import messages, topics
from shared.messages import Ack
from shared.topics import Reply

MAX_REASON = 500
logger = logging.getLogger(__name__)


class Replies:
    """Counts outcomes and makes their answers."""

    def __init__(self, counts: DailyCounts) -> None:
        self.counts = counts
        self.grants = False
        """Whether this server grants credit, which each answer says."""
        self.containers = False
        """The same of taking a record and its files as one."""

    def reply(self, device: str, name: str, ack: Ack) -> Reply:
        """The message that carries an acknowledgement. name: of a record or transfer."""
        told = replace(ack, grants=self.grants, containers=self.containers)
        return topics.ack(device, name), messages.encode(told)

    def merged(self, device: str, name: str, *, counted_as: str) -> list[Reply]:
        """It is durable and merged: the device may delete its copy."""
        self.counts.add(device, counted_as)
        return [self.reply(device, name, Ack("merged"))]

    def refused(self, device: str, name: str, reason: str) -> list[Reply]:
        """It can never be taken."""
        self.counts.add(device, "refused")
        logger.warning("Refused %s of %s: %s", name, device, reason)
        return [self.reply(device, name, Ack("refused", reason=reason[:MAX_REASON]))]

    def paused(self, device: str, name: str, reason: str) -> list[Reply]:
        """It cannot be taken now."""
        self.counts.add(device, "paused")
        logger.warning("Paused %s of %s: %s", name, device, reason)
        return [self.reply(device, name, Ack("paused", reason=reason))]

    def foreign(self, device: str, levels: list[str]) -> list[Reply]:
        """A message that is not ours; refused where it names a transfer."""
        logger.warning("Not ours: a message of %.40r on %.120r.", device, "/".join(levels))
        if not topics.DEVICE_NAME.match(device):
            self.counts.totals["foreign"] += 1
            return []
        self.counts.add(device, "foreign")
        if len(levels) != 3 or not topics.NAME.match(levels[1]):
            return []
        return [self.reply(device, levels[1], Ack("refused", reason="this is no message that this server knows"))]

    def ignored(self, device: str) -> list[Reply]:
        """A message that is not ours about a transfer that may well be sound: to refuse would end it."""
        self.counts.add(device, "foreign")
        return []

    def failed(self, device: str, what: str, error: OSError) -> None:
        """This machine could not store it: nothing is answered, and the device asks again."""
        self.counts.add(device, "errors")
        logger.error("%s of %s could not be stored and will be asked for again: %s", what, device, error)
