"""A recogniser by its name in the settings, in this process."""

from __future__ import annotations

from dataclasses import replace

from server.speech import package
from shared import languages
from shared.errors import ConfigError
from shared.languages import Language
from shared.speech import NOTHING, SoundPass, Transcriber, Transcript, acoustic

AUTO, POCKETSPHINX, WHISPER, BOTH = "auto", "pocketsphinx", "whisper", "both"


def open_transcriber(recogniser: str, *, model: str = "", language: Language | None = None) -> Transcriber:
    """It loads its model at the first sound.

    recogniser: auto | pocketsphinx | whisper | both. model: for whisper and both, a hub name, a folder or "packaged";
    for pocketsphinx in another language than English a folder with an acoustic model. language: None = English
    raises: ConfigError for another name, or one that lacks its model
    """
    language = language or languages.load("en")
    match by_itself(language) if recogniser == AUTO else recogniser:
        case "pocketsphinx":
            from shared.speech.sphinx import PocketsphinxTranscriber

            return PocketsphinxTranscriber(language, acoustic.files_for(language, model))
        case "whisper" if model:
            from server.speech.whisper import WhisperTranscriber

            return WhisperTranscriber(model, language=language)
        case "both":
            first = open_transcriber("pocketsphinx", language=language)
            return BothTranscribers(first, open_transcriber(WHISPER, model=model or "packaged", language=language))
        case "whisper":
            hint = 'Write a hub name such as "openai/whisper-tiny", a folder, or "packaged".'
            raise ConfigError("speech.model is empty.", hint=hint)
        case _:
            raise ConfigError(
                f"{recogniser!r} is no speech recogniser.", hint='Set speech.recogniser to "pocketsphinx".'
            )


def by_itself(language: Language) -> str:
    """The best that is installed here: what `auto` means."""
    return BOTH if language.tables is None and package.folder() is not None else POCKETSPHINX


def check_language(recogniser: str, model: str, language: Language) -> None:
    """The packaged Whisper, and what `both` has beside it, hear English alone. Raises: ConfigError."""
    if language.tables is not None and (recogniser == BOTH or (recogniser == WHISPER and model == "packaged")):
        raise ConfigError(
            f"speech.recogniser = {recogniser} hears English here, and speech.language is {language.code!r}.",
            hint="Set speech.recogniser to whisper, and speech.model to one of many languages.",
        )


class BothTranscribers:
    """Two recognisers, one after the other: what each makes of the sound is evidence."""

    def __init__(self, first: Transcriber, second: Transcriber) -> None:
        self._both = first, second

    def transcribe(self, wav: bytes) -> Transcript:
        """The surer one's words, with the passes of both. Raises: MediaError, ConfigError."""
        heard = [one.transcribe(wav) for one in self._both]
        passes: tuple[SoundPass, ...] = tuple(made for one in heard for made in one.passes)
        best = max(heard, key=lambda one: one.confidence, default=NOTHING)
        return replace(best, passes=passes)
