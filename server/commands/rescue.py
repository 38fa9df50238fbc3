"""`waycue-server rescue FOLDER`: the moments on the card of a device that sends no more, into the dataset.

FOLDER is the outbox of that card, or what `waycue-device outbox export` wrote. Everything goes the way that it goes
over the network: what was sealed to this server is opened, what it has already is not taken twice, and nothing is
deleted.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from server import config
from server.commands.opening import add_json, opened, print_json
from server.dataset.merge import Merge
from server.identity.authority import Authority
from server.identity.sealing_key import SealingKey, finder
from server.ingest.ingest import Ingest
from server.ingest.limits import LimitsSettings
from shared import messages, strict
from shared.clock import SystemClock
from shared.errors import ConfigError, MessageError
from shared.messages import Ack, Begin, Envelope, Part

OK, WRONG = 0, 1
PART_BYTES = 256 * 1024
SIDECAR = "record.json"
NO_LIMITS = LimitsSettings(free_mb=0, day_mb=0, messages_per_s=1_000_000)
Said = tuple[list[str], bytes]
"""Levels of the topic after the device's name, payload."""


@dataclass(frozen=True, slots=True)
class Rescued:
    """What became of one record."""

    record_id: str
    problem: str = ""
    """Why it, or a file of it, was not taken; "" = all of it is in the dataset."""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command."""
    parser = commands.add_parser(
        "rescue",
        help="take in the moments on the card of a device that sends no more",
        description="Reads an outbox, or what `waycue-device outbox export` wrote, and opens what was sealed to this "
        "server. Nothing there is changed; what the server has already is not taken twice.",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="with a folder for each record")
    add_json(parser, "what became of each record")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Take them in, and tell. Raises: ConfigError, OSError."""
    split_by = config.load(options.home).dataset.split_by
    folders = sorted(sidecar.parent for sidecar in options.folder.rglob(SIDECAR))
    if not folders:
        raise ConfigError(
            f"{options.folder} holds no records.", hint="Name an outbox, or what `waycue-device outbox export` wrote."
        )
    authority = Authority(options.home, clock=SystemClock())
    key, others = SealingKey.of(authority).private, finder(authority)
    with (
        opened(options.home) as (store, dataset),
        tempfile.TemporaryDirectory(dir=options.home, prefix="rescue-") as place,
        closing(
            Ingest(Path(place), Merge(store, dataset, SystemClock(), split_by=split_by), settings=NO_LIMITS)
        ) as ingest,
    ):
        results = [_rescued(ingest.opening_with(key, others=others), folder) for folder in folders]
    problems = [result for result in results if result.problem]
    if options.json:
        print_json([{"record_id": result.record_id, "problem": result.problem} for result in results])
    else:
        print("\n".join(f"{result.record_id}: {result.problem}" for result in problems))
        print(f"{len(results) - len(problems)} of {len(results)} records are in the dataset.")
    return WRONG if problems else OK


def _rescued(ingest: Ingest, folder: Path) -> Rescued:
    try:
        envelope = messages.decode(Envelope, (folder / SIDECAR).read_bytes())
        device = str(envelope.body.get("device", ""))
        answers = [answer for said in _said(folder, envelope, device) for answer in _answers(ingest, device, said)]
    except (MessageError, OSError) as error:
        return Rescued(folder.name, str(error))
    reasons = [answer.reason or answer.state for answer in answers if answer.state != "merged"]
    return Rescued(envelope.record_id, "; ".join(dict.fromkeys(reasons)))


def _said(folder: Path, envelope: Envelope, device: str) -> Iterator[list[Said]]:
    """What the device would have said about the record, then about each of its files."""
    yield [(["up", "event"], messages.encode(envelope))]
    for value in envelope.body.get("parts", ()):
        part = strict.read(Part, value)
        data, name = (folder / part.name).read_bytes(), f"{envelope.record_id}.{part.kind}"
        begin = messages.encode(Begin(envelope.record_id, part, device))
        blocks = [(["up", name, str(at)], data[at : at + PART_BYTES]) for at in range(0, len(data), PART_BYTES)]
        yield [(["up", name, "begin"], begin), *blocks, (["up", name, "end"], b"")]


def _answers(ingest: Ingest, device: str, said: list[Said]) -> list[Ack]:
    """The last answer to all of it."""
    replies = [reply for levels, payload in said for reply in ingest.handle(device, levels, payload)]
    return [messages.decode(Ack, payload) for _, payload in [*replies, *ingest.settle()][-1:]]
