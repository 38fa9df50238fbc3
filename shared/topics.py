"""Topic names, version 1: one table, from which names, subscriptions, access rules and docs/formats.md follow.

A new message is a new row here, a dataclass in shared.messages and a handler at its receiver.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

Reply = tuple[str, bytes]
"""Topic and payload of a message to publish."""

ROOT = "wc/v1"
# A name becomes a topic level, a file name and part of a transfer id: no '/', '+', '#', no dots first.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,95}\Z")
DEVICE_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}\Z")
SHA256 = re.compile(r"[0-9a-f]{64}\Z")
MAX_DIGITS = 12  # an offset below 1 TB


class Side(StrEnum):
    """Who publishes."""

    DEVICE = "device"
    SERVER = "server"


@dataclass(frozen=True, slots=True)
class Topic:
    """One kind of topic below `wc/v1/<device>/`."""

    path: str
    """Its levels; those in angle brackets are filled in."""
    sender: Side
    payload: str
    """What it carries: the name of a class of shared.messages, or words."""
    retained: bool = False

    def of(self, device: str, *levels: str | int) -> str:
        """The topic of one device. levels: for those in angle brackets, in their order."""
        names = iter(levels)
        tail = [str(next(names)) if level.startswith("<") else level for level in self.path.split("/")]
        return "/".join((ROOT, device, *tail))

    @property
    def all_devices(self) -> str:
        """Subscription filter over all devices."""
        return "/".join((ROOT, "+", *("+" if level.startswith("<") else level for level in self.path.split("/"))))


STATUS = Topic("status", Side.DEVICE, "Status", retained=True)
EVENT = Topic("up/event", Side.DEVICE, "Envelope")
BEGIN = Topic("up/<transfer>/begin", Side.DEVICE, "Begin")
PART = Topic("up/<transfer>/<offset>", Side.DEVICE, "raw bytes of the file from byte `<offset>`")
END = Topic("up/<transfer>/end", Side.DEVICE, "empty: everything was sent")
ASK = Topic("up/<transfer>/ask", Side.DEVICE, "empty: which ranges do you have?")
WANT = Topic("up/want", Side.DEVICE, "Want")
CREDIT = Topic("up/credit", Side.DEVICE, "CreditWish")
RENEW = Topic("up/renew", Side.DEVICE, "Renew")
ACK = Topic("down/<name>/ack", Side.SERVER, "Ack")
GRANT = Topic("down/credit", Side.SERVER, "CreditGrant")
OFFER = Topic("down/offer", Side.SERVER, "Offer", retained=True)
BLOCK = Topic("down/block/<sha256>/<offset>", Side.SERVER, "raw bytes of the file with that hash, from byte `<offset>`")
CERTIFICATE = Topic("down/certificate", Side.SERVER, "Certificate")
HEARD = Topic("down/heard", Side.SERVER, "CorrectionHeard")
TABLE = (
    STATUS, EVENT, BEGIN, PART, END, ASK, CREDIT, WANT, RENEW, ACK, GRANT, OFFER, BLOCK, CERTIFICATE, HEARD
)  # fmt: skip

status, event, want, renew, credit = STATUS.of, EVENT.of, WANT.of, RENEW.of, CREDIT.of
begin, part, end, ask = BEGIN.of, PART.of, END.of, ASK.of
ack, grant, offer, block, certificate, heard = ACK.of, GRANT.of, OFFER.of, BLOCK.of, CERTIFICATE.of, HEARD.of


def subtrees(sender: Side, device: str = "+") -> tuple[str, ...]:
    """Filters that hold all topics which `sender` writes for a device, and no other: `status` and `up/#` of a device,
    `down/#` of the server. device: "+" = every one."""
    own = dict.fromkeys(topic.path.partition("/") for topic in TABLE if topic.sender == sender)
    return tuple(dict.fromkeys(f"{ROOT}/{device}/{head}{'/#' if tail else ''}" for head, _, tail in own))


def intake(device: str) -> tuple[str, ...]:
    """Subscription filters: what a device sends to be taken in."""
    return EVENT.of(device), CREDIT.of(device), PART.of(device, "+", "+")


def down(device: str) -> str:
    """Subscription filter: everything meant for one device."""
    (only,) = subtrees(Side.SERVER, device)
    return only


STATUS_ALL, UP_ALL = subtrees(Side.DEVICE)
# What only `run` answers, where several processes take in.
WANT_ALL, RENEW_ALL = WANT.all_devices, RENEW.all_devices


def levels(topic: str) -> tuple[str, list[str]] | None:
    """(device, levels after it), or None where the topic is not one of ours. Never raises: topics come from outside."""
    head, _, rest = topic.partition(f"{ROOT}/")
    if head or not rest:
        return None
    device, *tail = rest.split("/")
    if not DEVICE_NAME.match(device) or not tail:
        return None
    return device, tail


def parse_offset(level: str) -> int | None:
    """A byte offset written in plain decimal, or None."""
    if level.isascii() and level.isdigit() and len(level) <= MAX_DIGITS:
        return int(level)
    return None
