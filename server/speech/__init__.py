"""Spoken corrections → words → the vocabulary's sentence, on this machine.

    opening        a recogniser by its name: pocketsphinx with a grammar, Whisper held to sentences, or both
    apart, child   the recogniser in a process of its own: it holds Python's lock for seconds
    choosing       several guesses, what a model sees there and what was said → probabilities; `fitted` has the weights

`transcribe_waiting` brings every correction that nobody has listened to through a recogniser and writes down what was
heard, what it proposes, how sure that is, and what else may have been meant. What was not understood is written down
too: a person listens to it on the review page. What a device was sure to have understood itself is taken as a proposal
of that kind, once the vocabulary here has a sentence for it; nothing of it counts as confirmed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from server.speech.apart import ApartTranscriber
from server.speech.beside import Known, together
from server.speech.opening import open_transcriber
from server.speech.proposing import Proposed, of_device, proposed
from shared.errors import MediaError
from shared.languages import Language
from shared.messages import CorrectionHeard
from shared.speech import NOTHING, Transcriber, Transcript, proposal

if TYPE_CHECKING:  # the recogniser's process has no database, and starts two seconds earlier without
    from server.dataset.merge import Merge, UnheardCorrection

__all__ = ["ApartTranscriber", "open_transcriber", "transcribe_waiting"]
logger = logging.getLogger(__name__)


def transcribe_waiting(
    merge: Merge,
    transcriber: Transcriber | ApartTranscriber | None,
    *,
    stop: Callable[[], bool],
    language: Language | None = None,
    tell: Callable[[str, CorrectionHeard], object] = lambda device, words: None,
    know: Callable[[UnheardCorrection], Known] = lambda waiting: Known(),
) -> int:
    """Listen to every waiting correction, oldest first, until `stop` says so; returns how many were written down.

    transcriber: None = nobody listens here; what devices understood is taken, and the rest goes on waiting
    tell(device, words): what was understood here, for the wearer to hear; nothing hangs on it.
    know: what is known of a correction beside its sound

    A sound that can not be read counts as heard without words. Raises: OSError, ConfigError, Transient (the rest then
    waits).
    """
    done = 0
    for waiting in merge.unheard():
        if stop():
            break
        device, name = waiting.device, waiting.record.correction_id
        words = _of_device(waiting)
        told = words is not None  # by the device itself
        if words is None and transcriber is not None:
            try:
                words = _listened(transcriber, waiting, know(waiting), language)
            except FileNotFoundError:  # erased meanwhile, or lost: those after it are listened to all the same
                logger.warning("Correction %s of %s has no sound any more.", name, device)
        if words is None:
            continue
        merge.put_transcript(
            device,
            name,
            transcript=words.transcript,
            confidence=words.confidence,
            proposal=words.wording,
            choices=words.choices,
        )
        if not told:
            tell(device, CorrectionHeard(name, words.wording))
        done += 1
    return done


def _of_device(waiting: UnheardCorrection) -> Proposed | None:
    """What the device heard; None = not understood there, not sure, or no sentence of ours."""
    record = waiting.record
    heard = Transcript(record.heard, record.heard_confidence)
    wording = proposal(replace(heard, text=record.heard_meaning))  # the meaning is canonical in any language
    return of_device(heard, wording) if wording else None


def _listened(
    transcriber: Transcriber | ApartTranscriber, waiting: UnheardCorrection, known: Known, language: Language | None
) -> Proposed:
    about, wav = known.about, waiting.sound()
    try:
        if isinstance(transcriber, ApartTranscriber):
            answer = transcriber.ask(wav, known.sight)
            heard, about = answer.transcript, replace(about, seen=together(about.seen, answer.seen))
        else:
            heard = transcriber.transcribe(wav)
    except MediaError as error:
        logger.warning("Correction %s of %s: %s", waiting.record.correction_id, waiting.device, error)
        heard = NOTHING
    return proposed(heard, about, language)
