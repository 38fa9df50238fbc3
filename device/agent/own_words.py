"""What was heard in the wearer's corrections, read back to them: by the device where the settings want it, else by the
server. Read back once, and only while it is about the last correction.

Where the device listens, a correction is held in the outbox until its words are there; without words it is sent as it
is, and the server listens.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from device.moments.sealer import Parcel
from device.outbox.late import LateOutbox
from device.transcription.listening import RECOGNISER, ListenPlan, ListenResult
from device.transcription.transcription import Transcription
from shared.clock import Clock
from shared.errors import ConfigError, MessageError
from shared.messages import CorrectionHeard, CorrectionRecord

logger = logging.getLogger(__name__)

NOT_HEARD_HERE = "Corrections wait for the server."
OWN_WORDS_TEXTS = (NOT_HEARD_HERE,)
ABOUT = "transcription"
MOST_READ = 16


@dataclass(frozen=True, slots=True)
class OwnWordsPorts:
    store: Callable[[Parcel], None]
    """Have it sealed."""
    outbox: LateOutbox
    is_last: Callable[[str], bool]
    """Whether it is the last correction, and was not discarded."""
    read_back: Callable[[str], None]
    """Say the vocabulary's sentence; "" = not understood."""
    announce: Callable[[str, str], None]


class OwnWords:
    """plan: how the device listens; None = it does not."""

    def __init__(self, plan: ListenPlan | None, ports: OwnWordsPorts, clock: Clock) -> None:
        self._plan = plan
        self._ports = ports
        self._read: dict[str, str] = {}
        """Correction → what was read back of it, newest last."""
        self._transcription = None if plan is None else Transcription(plan, self._done, clock)
        self._why_not: str | None = None

    @property
    def trouble(self) -> str | None:
        """Why the device does not listen, although it should; None = nothing is wrong."""
        return self._why_not or (None if self._transcription is None else self._transcription.trouble)

    def start(self) -> None:
        """Say so where the device cannot listen."""
        if self._plan is None or self._transcription is None:
            return
        try:
            self._plan.check()
        except (ConfigError, OSError) as error:
            logger.error("Corrections are left to the server: %s", error)
            self._why_not, self._transcription = str(error), None
            self._ports.announce(NOT_HEARD_HERE, ABOUT)
            return
        self._transcription.start()

    def close(self) -> None:
        if self._transcription is not None:
            self._transcription.close()

    def allow(self, allowed: bool) -> None:
        """False: the board is too hot or too slow to listen."""
        if self._transcription is not None:
            self._transcription.allowed = allowed

    def keep(self, parcel: Parcel) -> None:
        """Have it sealed; a correction that the device will listen to is held."""
        if self._transcription is not None and isinstance(parcel.record, CorrectionRecord):
            self._ports.outbox.hold(parcel.record.correction_id)
        self._ports.store(parcel)

    def sealed(self, parcel: Parcel) -> None:
        """It is durable."""
        if self._transcription is not None and isinstance(parcel.record, CorrectionRecord):
            self._transcription.take(parcel.record, parcel.payloads["correction_audio"])

    def server_heard(self, heard: CorrectionHeard) -> None:
        """What the server understood. What the device understood already is not read back twice."""
        own = self._read.get(heard.correction_id)
        if not own and own != heard.text:
            self._read_back(heard.correction_id, heard.text)

    def _done(self, record: CorrectionRecord, words: ListenResult | None) -> None:
        if self._transcription is not None and self._transcription.trouble is not None:
            self._ports.announce(NOT_HEARD_HERE, ABOUT)
        try:
            if words is not None:
                self._read_back(record.correction_id, words.meaning)
        finally:
            self._let_go(record, words)

    def _let_go(self, record: CorrectionRecord, words: ListenResult | None) -> None:
        heard = None if words is None else _with_words(record, words)
        try:
            self._ports.outbox.let_go(record.correction_id, heard)
        except (OSError, MessageError) as error:
            logger.error("%s is sent without what was heard in it: %s", record.correction_id, error)

    def _read_back(self, correction_id: str, text: str) -> None:
        if self._ports.is_last(correction_id):
            self._read[correction_id] = text
            if len(self._read) > MOST_READ:
                del self._read[next(iter(self._read))]
            self._ports.read_back(text)


def _with_words(record: CorrectionRecord, words: ListenResult) -> CorrectionRecord:
    return replace(
        record, heard=words.text, heard_meaning=words.meaning, heard_confidence=words.confidence, heard_by=RECOGNISER
    )
