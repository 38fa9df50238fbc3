"""What pocketsphinx needs to hear a language: an acoustic model and a dictionary, found without loading it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from shared.errors import ConfigError
from shared.languages import Language

INSTALL_HINT = "On a device it is the extra device-speech, on a server part of the extra server."


@dataclass(frozen=True, slots=True)
class AcousticFiles:
    """Of one language."""

    model: Path
    """Folder with mdef and what belongs to it."""
    dictionary: Path


def is_installed() -> bool:
    """Whether pocketsphinx is there; it is not imported."""
    return find_spec("pocketsphinx") is not None


def files_for(language: Language, model: str) -> AcousticFiles | None:
    """What is to be loaded; None = the English that pocketsphinx brings along.

    model: folder with an acoustic model and a dictionary of another language than English
    raises: ConfigError where another language has no such folder, or the folder does not hold one of each
    """
    if language.tables is None:
        return None
    if not model:
        raise ConfigError(
            f"pocketsphinx comes with a model of English, and {language.name} is spoken.",
            hint="Name a folder with one of that language.",
        )
    return found(Path(model).expanduser())


def found(folder: Path) -> AcousticFiles:
    """The files in a folder. Raises: ConfigError."""
    models = sorted(path.parent for path in folder.rglob("mdef"))
    dictionaries = sorted(path for path in folder.rglob("*") if path.suffix in (".dict", ".dic"))
    if len(models) != 1 or len(dictionaries) != 1:
        raise ConfigError(
            f"The speech model {str(folder)!r} holds {len(models)} acoustic models (mdef) and "
            f"{len(dictionaries)} dictionaries (*.dict, *.dic).",
            hint="It must hold one of each.",
        )
    return AcousticFiles(models[0], dictionaries[0])
