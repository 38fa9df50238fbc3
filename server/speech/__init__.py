"""Spoken corrections → words → the vocabulary's sentence, on this machine.

A Transcriber turns a WAV into words with a confidence; `transcribe_waiting` brings every correction that nobody has
listened to through it and writes down what was heard and what it proposes. What was not understood is written down too:
a person listens to it on the review page.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from server.dataset.merge import Merge
from server.speech.transcript import NOTHING, Transcriber, Transcript, proposal, understood
from shared import languages
from shared.errors import ConfigError, MediaError
from shared.languages import Language
from shared.messages import CorrectionHeard

__all__ = ["NOTHING", "Transcriber", "Transcript", "open_transcriber", "proposal", "transcribe_waiting", "understood"]
logger = logging.getLogger(__name__)


def open_transcriber(recogniser: str, *, model: str = "", language: Language | None = None) -> Transcriber:
    """A recogniser by its name in the settings; it loads its model at the first sound.

    recogniser: pocketsphinx | whisper. model: for whisper, a hub name or a folder; for pocketsphinx in another language
    than English a folder with an acoustic model. language: None = English
    raises: ConfigError for another name, or whisper without a model
    """
    language = language or languages.load("en")
    if recogniser == "pocketsphinx":
        from server.speech.sphinx import PocketsphinxTranscriber

        return PocketsphinxTranscriber(language, Path(model).expanduser() if language.tables else None)
    if recogniser == "whisper" and model:
        from server.speech.whisper import WhisperTranscriber

        return WhisperTranscriber(model, language=language.code)
    if recogniser == "whisper":
        raise ConfigError("speech.model is empty.", hint='Write a hub name such as "openai/whisper-tiny", or a folder.')
    raise ConfigError(f"{recogniser!r} is no speech recogniser.", hint='Set speech.recogniser to "pocketsphinx".')


def transcribe_waiting(
    merge: Merge,
    transcriber: Transcriber,
    *,
    stop: Callable[[], bool],
    language: Language | None = None,
    tell: Callable[[str, CorrectionHeard], object] = lambda device, words: None,
) -> int:
    """Listen to every waiting correction, oldest first, until `stop` says so; returns how many were written down.

    tell(device, words): what was understood, for the wearer to hear; nothing hangs on it.

    A sound that can not be read counts as heard without words. Raises: OSError, ConfigError (the rest then waits).
    """
    done = 0
    for device, correction_id, path in merge.unheard():
        if stop():
            break
        try:
            heard = transcriber.transcribe(path.read_bytes())
        except FileNotFoundError:  # erased meanwhile, or lost: those after it are listened to all the same
            logger.warning("Correction %s of %s has no sound any more.", correction_id, device)
            continue
        except MediaError as error:
            logger.warning("Correction %s of %s: %s", correction_id, device, error)
            heard = NOTHING
        wording = proposal(heard, language)
        merge.put_transcript(
            device, correction_id, transcript=heard.text, confidence=heard.confidence, proposal=wording
        )
        tell(device, CorrectionHeard(correction_id, wording))
        done += 1
    return done
