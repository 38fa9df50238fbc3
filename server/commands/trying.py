"""`waycue-server try`: what an adapter, a checkpoint or a bundle answers to a video or a picture."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from server.commands.label import FILM_FPS
from shared import vocabulary
from shared.errors import ConfigError

if TYPE_CHECKING:
    from server.labelling.footage import Footage
    from server.learn.answering import Answerer, ModelAnswer, Picture

BASE_ANSWERS = "the base model answers."
LOOK_APART_S = 0.25
"""Between a picture and the one before it, for models that are shown two: four looks a second, as a device."""
SILENCE = "(nothing to say)"


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command."""
    parser = commands.add_parser(
        "try",
        help="what an adapter, a checkpoint or a bundle answers to a video or a picture",
        description="Prints its answer to the middle of every 2 s of a video, or to each picture, with how sure it is "
        "and what it sees above its threshold. Without an adapter there, the base answers and says so.",
    )
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="an adapter's folder (of a night, or plain peft), a checkpoint's or a bundle's, or a version of "
        "`models list`",
    )
    parser.add_argument("seen", nargs="+", type=Path, metavar="VIDEO|PICTURE", help="what it is shown")
    parser.add_argument(
        "--base",
        metavar="NAME|FOLDER",
        help='base of the adapter instead of the recorded one, or of the fallback instead of learn.base: "starter", a '
        "name on the hub, or a folder",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="write each video and picture there with captions")
    parser.add_argument("--threads", type=int, default=2, metavar="N", help="threads of the model (%(default)s)")
    parser.add_argument("--film-fps", type=float, default=0.0, metavar="N", help=FILM_FPS)
    parser.add_argument("--json", action="store_true", help="print the answers as JSON, everything else on stderr")
    parser.set_defaults(run=run)


@dataclass(frozen=True, slots=True)
class TriedInput:
    """One thing that the model is shown: a video or a picture."""

    path: Path
    film: Footage | None
    """None for a picture."""


@dataclass(frozen=True, slots=True)
class Tried:
    """One answer, and to what."""

    path: Path
    start_s: float | None
    """Of the chunk of a video whose middle was shown; None for a picture."""
    end_s: float | None
    answer: ModelAnswer

    def to_dict(self) -> dict[str, Any]:
        span = {} if self.start_s is None else {"start_s": self.start_s, "end_s": self.end_s}
        answer = self.answer
        return {
            "path": str(self.path),
            **span,
            "text": answer.text,
            "silent": answer.text == vocabulary.CLEAR,
            "sayable": answer.sayable,
            "confidence": round(answer.confidence, 4),
            "hazards": [
                {"object": hazard.object, "side": hazard.side, "score": round(hazard.score, 4)}
                for hazard in answer.hazards
            ],
        }


def run(options: argparse.Namespace) -> int:
    """Ask and print. Raises: ConfigError, MediaError, DatasetError, BundleError, OSError."""
    if options.threads < 1:
        raise ConfigError("--threads must be above 0.")
    shown = [_opened(path, options.film_fps) for path in options.seen]
    model, kind = _model(options)
    answers = list[Tried]()
    for each, name in zip(shown, _names(shown), strict=True):
        mine = list(_asked(model, each, options))
        answers += mine
        if options.out is not None:
            _caption(each, mine, options.out / name)
            _say(f"{each.path} with captions: {options.out / name}")
    if options.json:
        about = {
            "model": options.model,
            "version": model.version,
            "base": model.base,
            "kind": kind,
            "calibrated": model.calibrated,
        }
        print(json.dumps({"model": about, "answers": [tried.to_dict() for tried in answers]}, indent=1))
    return 0


def _opened(path: Path, film_fps: float) -> TriedInput:
    """Raises: ConfigError where there is no such file, MediaError or DatasetError where it cannot be read."""
    import cv2

    from server.dataset import pictures
    from server.evaluation.annotated import VIDEOS
    from server.labelling import footage

    if not path.is_file():
        raise ConfigError(f"There is no file {path}.", hint="Name videos or pictures.")
    if path.suffix.lower() in VIDEOS or not cv2.haveImageReader(str(path)):
        film = footage.find(path, untimed_fps=film_fps)
        for note in film.notes:
            _say(note)
        return TriedInput(path, film)
    pictures.read(path)  # before a model is loaded for it
    return TriedInput(path, None)


def _model(options: argparse.Namespace) -> tuple[Answerer, str]:
    """(the model, adapter | checkpoint | bundle | base). Raises: ConfigError, BundleError."""
    from server.learn import adapters
    from server.learn.answering import BundleAnswerer, CheckpointAnswerer

    folder, threads = _bundle(options.model, options.home), options.threads
    if folder is not None:
        return BundleAnswerer(folder, threads=threads), "bundle"
    at = Path(options.model)
    if adapters.is_adapter(at):
        loaded = adapters.load(at, options.home, base=options.base, progress=_say)
        return CheckpointAnswerer(loaded, threads=threads), "adapter"
    if (at / "config.json").is_file():
        return CheckpointAnswerer(adapters.open_checkpoint(at, options.home), threads=threads), "checkpoint"
    _say(f"No adapter at {options.model}: {BASE_ANSWERS}")
    return CheckpointAnswerer(_base(options), threads=threads), "base"


def _base(options: argparse.Namespace) -> Any:
    from server import config
    from server.learn import bases
    from server.learn.settings import LearnSettings

    if options.base is not None:
        return bases.load_base(LearnSettings(base=options.base), options.home, _say)
    learn = config.load(options.home).learn if (options.home / config.FILE).is_file() else LearnSettings()
    return bases.load_base(learn, options.home, _say)


def _bundle(name: str, home: Path) -> Path | None:
    """A bundle's folder, that of a registered version, or of the folder that the registry keeps of one."""
    from server.database.store import has_database
    from server.releases.registry import Registry
    from shared.bundle import MANIFEST_NAME

    for folder in (Path(name), Path(name) / "bundle"):
        if (folder / MANIFEST_NAME).is_file():
            return folder
    if Path(name).exists() or not has_database(home):
        return None
    registry = Registry(home)
    return registry.bundle_folder(name) if name in {model.version for model in registry.list()} else None


def _names(shown: Sequence[TriedInput]) -> Iterator[str]:
    """Of the captioned files: of two inputs with one name the second is numbered."""
    taken = set[str]()
    for each in shown:
        suffix = ".jpg" if each.film is None else ".mp4"
        stem = f"{each.path.stem}.captioned"
        name = next(n for n in (stem, *(f"{stem}-{at}" for at in range(2, len(shown) + 2))) if n + suffix not in taken)
        taken.add(name + suffix)
        yield name + suffix


def _asked(model: Answerer, shown: TriedInput, options: argparse.Namespace) -> Iterator[Tried]:
    print(shown.path, file=sys.stderr if options.json else sys.stdout)
    for tried in _answers(model, shown):
        if not options.json:
            print(line(tried), flush=True)
        yield tried


def _answers(model: Answerer, shown: TriedInput) -> Iterator[Tried]:
    from server.dataset import pictures
    from server.labelling.footage import Reel
    from server.learn.answering import ModelInput
    from shared.jpeg import decode_picture
    from shared.wav import decode_sound

    if shown.film is None:
        yield Tried(shown.path, None, None, model.answer(ModelInput(pictures.read(shown.path))))
        return
    with closing(Reel(shown.film)) as reel:
        for number in range(shown.film.chunks):
            chunk = reel.read(number)
            picture = None if chunk is None else decode_picture(chunk.jpeg)
            start_s, end_s = shown.film.span(number)
            if chunk is None or picture is None:
                _say(f"{shown.path}, {start_s:.1f} s: no picture can be read there.")
                continue
            previous = _previous(model, shown.film, (start_s + end_s) / 2)
            sound = decode_sound(chunk.wav) if shown.film.has_sound else None
            yield Tried(shown.path, start_s, end_s, model.answer(ModelInput(picture, previous, sound)))


def _previous(model: Answerer, film: Footage, at_s: float) -> Picture | None:
    from server.labelling import footage

    return None if model.frames == 1 else footage.picture_at(film, max(0.0, at_s - LOOK_APART_S))


def line(tried: Tried) -> str:
    """One answer for a person. Pure."""
    answer = tried.answer
    when = "" if tried.start_s is None else f"{tried.start_s:6.1f} s  "
    saw = ", ".join(f"{hazard.object} {hazard.side} {hazard.score:.2f}" for hazard in answer.hazards)
    return f"  {when}{spoken(answer)}  ({answer.confidence:.2f})" + (f"  sees: {saw}" if saw else "")


def spoken(answer: ModelAnswer) -> str:
    """Its words, with a remark where a device would not say them. Pure."""
    if answer.text == vocabulary.CLEAR:
        return SILENCE
    return answer.text if answer.sayable else f"{answer.text!r} (no sentence of the vocabulary)"


def _caption(shown: TriedInput, answers: Sequence[Tried], out: Path) -> None:
    """Raises: MediaError, OSError."""

    from server.dataset import pictures
    from server.evaluation import captioned
    from shared import atomic
    from shared.jpeg import encode_jpeg

    said = [_entry(tried) for tried in answers]
    if shown.film is not None:
        captioned.write(shown.film, said, None, out)
        return
    picture = captioned.caption(pictures.read(shown.path), said, 0.0)
    atomic.write_bytes(out, encode_jpeg(picture, max_side_px=max(picture.shape)))


def _entry(tried: Tried) -> dict[str, Any]:
    """An answer as a walk's report has an utterance: shown from the picture that was asked about on."""
    answer = tried.answer
    slots = vocabulary.parse(answer.text) if answer.sayable else None
    middle_s = 0.0 if tried.start_s is None or tried.end_s is None else (tried.start_s + tried.end_s) / 2
    tier = 3 if slots is None else vocabulary.tier(slots)
    note = f"confidence {answer.confidence:.2f}"
    return {"text": spoken(answer), "tier": tier, "why": "worded", "heard_s": middle_s, "note": note}


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
