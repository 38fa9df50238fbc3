"""Spoken corrections → words → the vocabulary's sentence, on this machine.

A Transcriber turns a WAV into words with a confidence; `transcribe_waiting` brings every correction that nobody has
listened to through it and writes down what was heard and what it proposes. What was not understood is written down too:
a person listens to it on the review page.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from server.dataset.merge import Merge
from server.speech.transcript import NOTHING, Transcriber, Transcript, proposal, understood
from shared.errors import ConfigError, MediaError
from shared.messages import CorrectionHeard

__all__ = ["NOTHING", "Transcriber", "Transcript", "open_transcriber", "proposal", "transcribe_waiting", "understood"]
logger = logging.getLogger(__name__)


def open_transcriber(recogniser: str, *, model: str = "") -> Transcriber:
    """A recogniser by its name in the settings; it loads its model at the first sound.

    recogniser: pocketsphinx | whisper. model: for whisper, a hub name or a folder.
    raises: ConfigError for another name, or whisper without a model
    """
    if recogniser == "pocketsphinx":
        from server.speech.sphinx import PocketsphinxTranscriber

        return PocketsphinxTranscriber()
    if recogniser == "whisper" and model:
        from server.speech.whisper import WhisperTranscriber

        return WhisperTranscriber(model)
    if recogniser == "whisper":
        raise ConfigError("speech.model is empty.", hint='Write a hub name such as "openai/whisper-tiny", or a folder.')
    raise ConfigError(f"{recogniser!r} is no speech recogniser.", hint='Set speech.recogniser to "pocketsphinx".')


def transcribe_waiting(
    merge: Merge,
    transcriber: Transcriber,
    *,
    stop: Callable[[], bool],
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
        except MediaError as error:
            logger.warning("Correction %s of %s: %s", correction_id, device, error)
            heard = NOTHING
        wording = proposal(heard)
        merge.put_transcript(
            device, correction_id, transcript=heard.text, confidence=heard.confidence, proposal=wording
        )
        tell(device, CorrectionHeard(correction_id, wording))
        done += 1
    return done
