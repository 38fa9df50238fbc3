"""Spoken corrections → words → the vocabulary's sentence, on this machine.

`transcribe_waiting` brings every correction that nobody has listened to through a recogniser (shared.speech, or
Whisper) and writes down what was heard and what it proposes. What was not understood is written down too: a person
listens to it on the review page. What a device was sure to have understood itself is taken as a proposal of that kind,
once the vocabulary here has a sentence for it; nothing of it counts as confirmed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from server.dataset.merge import Merge, UnheardCorrection
from shared import languages
from shared.errors import ConfigError, MediaError
from shared.languages import Language
from shared.messages import CorrectionHeard, CorrectionRecord
from shared.speech import NOTHING, Transcriber, Transcript, acoustic, proposal

__all__ = ["open_transcriber", "transcribe_waiting"]
logger = logging.getLogger(__name__)


def open_transcriber(recogniser: str, *, model: str = "", language: Language | None = None) -> Transcriber:
    """A recogniser by its name in the settings; it loads its model at the first sound.

    recogniser: pocketsphinx | whisper. model: for whisper, a hub name or a folder; for pocketsphinx in another language
    than English a folder with an acoustic model. language: None = English
    raises: ConfigError for another name, or whisper without a model
    """
    language = language or languages.load("en")
    if recogniser == "pocketsphinx":
        from shared.speech.sphinx import PocketsphinxTranscriber

        return PocketsphinxTranscriber(language, acoustic.files_for(language, model))
    if recogniser == "whisper" and model:
        from server.speech.whisper import WhisperTranscriber

        return WhisperTranscriber(model, language=language.code)
    if recogniser == "whisper":
        raise ConfigError("speech.model is empty.", hint='Write a hub name such as "openai/whisper-tiny", or a folder.')
    raise ConfigError(f"{recogniser!r} is no speech recogniser.", hint='Set speech.recogniser to "pocketsphinx".')


def transcribe_waiting(
    merge: Merge,
    transcriber: Transcriber | None,
    *,
    stop: Callable[[], bool],
    language: Language | None = None,
    tell: Callable[[str, CorrectionHeard], object] = lambda device, words: None,
) -> int:
    """Listen to every waiting correction, oldest first, until `stop` says so; returns how many were written down.

    transcriber: None = nobody listens here; what devices understood is taken, and the rest goes on waiting
    tell(device, words): what was understood here, for the wearer to hear; nothing hangs on it.

    A sound that can not be read counts as heard without words. Raises: OSError, ConfigError (the rest then waits).
    """
    done = 0
    for waiting in merge.unheard():
        if stop():
            break
        device, name = waiting.device, waiting.record.correction_id
        heard, wording = _of_device(waiting.record)
        told = bool(wording)  # by the device itself
        if not told and transcriber is None:
            continue
        if not told and transcriber is not None:
            try:
                heard = _listened(transcriber, waiting)
            except FileNotFoundError:  # erased meanwhile, or lost: those after it are listened to all the same
                logger.warning("Correction %s of %s has no sound any more.", name, device)
                continue
            wording = proposal(heard, language)
        merge.put_transcript(device, name, transcript=heard.text, confidence=heard.confidence, proposal=wording)
        if not told:
            tell(device, CorrectionHeard(name, wording))
        done += 1
    return done


def _of_device(record: CorrectionRecord) -> tuple[Transcript, str]:
    """(what the device heard, the sentence to propose); "" = not understood there, not sure, or no sentence of ours."""
    heard = Transcript(record.heard, record.heard_confidence)
    return heard, proposal(replace(heard, text=record.heard_meaning))  # the meaning is canonical in any language


def _listened(transcriber: Transcriber, waiting: UnheardCorrection) -> Transcript:
    try:
        return transcriber.transcribe(waiting.wav.read_bytes())
    except MediaError as error:
        logger.warning("Correction %s of %s: %s", waiting.record.correction_id, waiting.device, error)
        return NOTHING
