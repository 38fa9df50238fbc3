"""One question of the recogniser's process after the other."""

from __future__ import annotations

from pathlib import Path

from server.dataset import own_words
from server.speech.opening import open_transcriber
from server.speech.requests import CONFIG, MEDIA, RecogniserOptions, SoundAnswer, SoundQuestion, answer_of
from server.speech.sight import PictureLooker
from shared import languages
from shared.errors import ConfigError, MediaError
from shared.speech import Transcriber


class SoundAnswerer:
    """A recogniser, opened at the first sound, and what it answers where it cannot listen."""

    def __init__(self, options: RecogniserOptions) -> None:
        self._options = options
        self._transcriber: Transcriber | None = None
        self._sight = PictureLooker()

    def answer(self, question: SoundQuestion, wav: bytes) -> SoundAnswer:
        """What was heard and seen, or why not; what nobody foresaw ends the process."""
        try:
            heard = self._opened().transcribe(wav)
        except MediaError as error:
            return SoundAnswer(failed=MEDIA, why=str(error))
        except ConfigError as error:
            return SoundAnswer(failed=CONFIG, why=str(error.args[0]), hint=error.hint)
        return answer_of(heard, self._sight.seen(question.sight))

    def _opened(self) -> Transcriber:
        if self._transcriber is None:
            options = self._options
            if options.home:
                own_words.use(Path(options.home))
            language = languages.load(options.language, Path(options.languages) if options.languages else None)
            self._transcriber = open_transcriber(options.recogniser, model=options.model, language=language)
        return self._transcriber
