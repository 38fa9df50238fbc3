"""Spoken corrections → words → the vocabulary's sentence, offline: one recogniser for server and device.

A Transcriber turns a WAV into words with a confidence, `understood` and `proposal` say what they mean. The recogniser
itself (shared.speech.sphinx) is loaded by who listens, and by nobody else: it needs pocketsphinx, and 100 MB.
"""

from shared.speech.transcript import (
    CONFIDENCE_LEAST,
    GRAMMAR,
    NOTHING,
    SENTENCES,
    SoundPass,
    Transcriber,
    Transcript,
    proposal,
    understood,
)

__all__ = [
    "CONFIDENCE_LEAST",
    "GRAMMAR",
    "NOTHING",
    "SENTENCES",
    "SoundPass",
    "Transcriber",
    "Transcript",
    "proposal",
    "understood",
]
