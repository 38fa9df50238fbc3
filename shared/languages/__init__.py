"""What is said, in the wearer's language: one folder of data for each.

English is the canonical form: model, automaton, policy, monitor, records and dataset know nothing else. Only the voice
is given other words, and only a transcript comes back:

    chosen(setting)           voice.language -> (Language, voice of espeak-ng)
    language.spoken(text)     a sentence or an announcement, canonical -> as it is spoken
    language.find(text)       the same; None where the folder lacks it
    language.missing(texts)   what the folder lacks, as lines to add to it
    understood(language, text)  words of the wearer -> the canonical sentence

A folder holds language.toml, guidance.toml, announcements.toml, corrections.toml and wearer.md; docs/how-to/
add-a-language.md describes them. It is checked whole when it is loaded: every sentence that may be said is worded, and
held against the folder's own list of words that must not be there (shared.languages.guard).
"""

from shared.languages.choose import available, chosen, load, packaged
from shared.languages.language import Language
from shared.languages.understood import understood

__all__ = ["Language", "available", "chosen", "load", "packaged", "understood"]
