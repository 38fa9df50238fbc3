"""A version in the shadow: what it would have said to moments that devices sent, before anybody walks with it.

It answers through the device's own runtime, with the picture before and the sound where it is given them. Its answers
are opinions like a teacher's (server.review.proposals): where they contradict what the device said, the moment comes
earlier in the review. They teach nothing. So do two versions at once, the champion and one that would take its place
(Challenge): where these two say different things, a person's word tells most about which is better.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from server.dataset import material
from server.dataset.blobs import Blobs
from server.dataset.folder import Dataset
from server.dataset.sample_row import SampleRow, files_of
from server.learn.settings import LearnSettings
from server.releases.registry import Registry
from server.review import proposals
from server.review.proposals import Opinion
from shared import bundle, model_card, vocabulary
from shared.clock import SystemClock
from shared.errors import BundleError, DatasetError
from shared.runtime import GuidanceModel
from shared.runtime.look import LOOK

AT_ONCE = 16
"""Moments whose answers are kept in one transaction: some seconds of work."""


class Shadow:
    """One version. Raises: BundleError where it cannot be loaded."""

    def __init__(self, folder: Path, blobs: Blobs, *, threads: int) -> None:
        self._model = GuidanceModel.load(folder, threads=threads, allow=bundle.FOR_JUDGING)
        self._blobs = blobs
        manifest = self._model.manifest
        self.version = manifest.version
        self.name = f"shadow {manifest.version}"
        """As the rows name it: each version looks at a moment once."""
        sees = model_card.card_of(manifest.model).sees
        self._objects = frozenset(sees or map(str, manifest.model["objects"]))
        words = not (folder / LOOK).is_file() or "end_id" in manifest.model
        language = self._model.language if words else None
        self._senses = material.Senses(
            before=language is not None and language.frames == 2, sound=language is not None and language.hears
        )

    def advise(self, row: SampleRow) -> Opinion:
        """What it would have said. Raises: DatasetError where the picture cannot be read."""
        folder = self._blobs.gathered(files_of(row))
        image = material.picture(folder, row)
        earlier = material.before(folder, row) if self._senses.before else None
        sound = material.sound(folder, row) if self._senses.sound else None
        before = None if earlier is None else self._model.look(earlier)
        seen = self._model.look(image, sound, before=before)
        said = self._model.word(seen)
        hazards = {(hazard.object, hazard.side): hazard.score for hazard in seen.hazards}
        wording = "" if said.text == vocabulary.CLEAR else said.text
        return Opinion(self.name, wording, said.confidence, hazards, self._objects)


class Challenge:
    """The champion and a version that would take its place, at the same moments. Raises: BundleError."""

    def __init__(self, challenger: Shadow, champion: Shadow) -> None:
        self._challenger, self._champion = challenger, champion
        self.name = proposals.challenge_of(challenger.version, champion.version)

    def advise(self, row: SampleRow) -> Opinion:
        """What the challenger says, held against what the champion says. Raises: DatasetError."""
        theirs = self._champion.advise(row)
        return replace(self._challenger.advise(row), teacher=self.name, beside=theirs.wording)


def challenger_of(registry: Registry) -> tuple[str, str] | None:
    """(the newest version that is not the champion and was made after it, the champion); None where there is none."""
    champion = registry.champion()
    versions = [model.version for model in registry.list()]
    if champion not in versions:
        return None
    later = versions[versions.index(champion) + 1 :]
    return (later[-1], champion) if later else None


def after_night(home: Path, settings: LearnSettings, *, progress: Callable[[str], None]) -> dict[str, int] | None:
    """Ask champion and challenger about the first moments that wait. Returns {"asked", "disputed"}; None where nobody
    is to be asked. A version that cannot be loaded is told, and ends no night. Raises: OSError."""
    with closing(Registry(home)) as registry:
        pair = challenger_of(registry) if settings.challenge else None
        if pair is None:
            return None
        dataset = Dataset(home / "dataset")
        try:
            both = [Shadow(registry.bundle_folder(name), dataset.blobs, threads=settings.threads) for name in pair]
        except BundleError as error:
            progress(f"Two models are not asked about what waits: {error}")
            return None
        challenge, counts = Challenge(both[0], both[1]), {"asked": 0, "disputed": 0}
        rows = proposals.unasked(registry.store, challenge.name, most=settings.challenge)
        for start in range(0, len(rows), AT_ONCE):
            opinions = list(_opinions(challenge, rows[start : start + AT_ONCE]))
            kept = proposals.keep(registry.store, dataset, opinions, now_s=SystemClock().utc_s())
            counts["asked"] += len(kept)
            counts["disputed"] += sum(bool(proposals.disputed(row)) for row in kept)
    progress(
        f"{pair[1]} and {pair[0]} were asked about {counts['asked']} moments that wait: {counts['disputed']} differ"
    )
    return counts


def _opinions(challenge: Challenge, rows: Sequence[SampleRow]) -> Iterator[tuple[str, Opinion]]:
    for row in rows:
        with contextlib.suppress(DatasetError):  # a picture that cannot be read is the check's to name
            yield row.sample_id, challenge.advise(row)
