"""Topic names, version 1. One place builds them and one place takes them apart.

wc/v1/<device>/status                      retained, last will
wc/v1/<device>/up/event                    JSON records with their own id (sidecars, corrections, telemetry)
wc/v1/<device>/up/<transfer>/begin         JSON: what is about to come
wc/v1/<device>/up/<transfer>/<offset>      raw bytes at that byte offset
wc/v1/<device>/up/<transfer>/end           empty
wc/v1/<device>/up/<transfer>/ask           empty: which ranges do you have?
wc/v1/<device>/up/want                     JSON: blocks wanted of a model file
wc/v1/<device>/up/renew                    JSON: a request for a new certificate, under the one that still holds
wc/v1/<device>/down/<transfer or record>/ack   JSON: received ranges | merged | refused
wc/v1/<device>/down/offer                  retained JSON: the model this device should run
wc/v1/<device>/down/block/<sha256>/<offset>    raw bytes of a file known by its hash
wc/v1/<device>/down/certificate            JSON: the new certificate
"""

from __future__ import annotations

import re

ROOT = "wc/v1"
# A name becomes a topic level, a file name and part of a transfer id: no '/', '+', '#', no dots first.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,95}\Z")
DEVICE_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}\Z")
SHA256 = re.compile(r"[0-9a-f]{64}\Z")
MAX_DIGITS = 12  # an offset below 1 TB


def status(device: str) -> str:
    return f"{ROOT}/{device}/status"


def event(device: str) -> str:
    return f"{ROOT}/{device}/up/event"


def want(device: str) -> str:
    return f"{ROOT}/{device}/up/want"


def renew(device: str) -> str:
    return f"{ROOT}/{device}/up/renew"


def certificate(device: str) -> str:
    return f"{ROOT}/{device}/down/certificate"


def begin(device: str, transfer: str) -> str:
    return f"{ROOT}/{device}/up/{transfer}/begin"


def part(device: str, transfer: str, offset: int) -> str:
    return f"{ROOT}/{device}/up/{transfer}/{offset}"


def end(device: str, transfer: str) -> str:
    return f"{ROOT}/{device}/up/{transfer}/end"


def ask(device: str, transfer: str) -> str:
    return f"{ROOT}/{device}/up/{transfer}/ask"


def ack(device: str, name: str) -> str:
    return f"{ROOT}/{device}/down/{name}/ack"


def offer(device: str) -> str:
    return f"{ROOT}/{device}/down/offer"


def block(device: str, sha256: str, offset: int) -> str:
    return f"{ROOT}/{device}/down/block/{sha256}/{offset}"


def down(device: str) -> str:
    """Subscription filter: everything meant for one device."""
    return f"{ROOT}/{device}/down/#"


UP_ALL = f"{ROOT}/+/up/#"
STATUS_ALL = f"{ROOT}/+/status"
# What several ingest workers take in turns, and what then stays with the one server that answers it.
SHARED = "$share/waycue"
SHARED_EVENTS = f"{SHARED}/{ROOT}/+/up/event"
SHARED_TRANSFERS = f"{SHARED}/{ROOT}/+/up/+/+"
WANT_ALL = f"{ROOT}/+/up/want"
RENEW_ALL = f"{ROOT}/+/up/renew"


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
