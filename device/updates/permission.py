"""Which models may guide here: field models; demonstrations and trials in a replay; a trial where it was granted.

Promise: on a real walk, a model on trial guides only while the newest signed metadata that this device verified name it
as a supervised wearer, or where the wearer's own settings vouch for a model that nobody signs. Nothing is remembered
of the answer: it is asked again before a model is fetched, put in use or loaded, and when newer metadata came.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from device.config import Config, is_replay
from device.updates.tuf_client import Trust
from shared import bundle
from shared.errors import BundleError, Refused, WaycueError


@dataclass(frozen=True, slots=True)
class Permission:
    """uses: the intended uses that need no more than the settings. proof: what verifies signed metadata; with it,
    an offer without them is refused; None only where the device has no identity yet, which may only speak to a broker
    on its own machine. device: the name that the metadata and offers are for."""

    uses: frozenset[str] = bundle.FOR_WALKS
    proof: Trust | None = None
    device: str = ""

    @classmethod
    def of(cls, config: Config, proof: Trust | None, device: str) -> Permission:
        """For the models that a server offers. The wearer's settings vouch for trials only where nothing is signed."""
        uses = settings_allow(config)
        if proof is not None and not is_replay(config):
            uses -= {bundle.TRIAL}
        return cls(uses, proof, device)

    def check(self, manifest: bundle.Manifest) -> None:
        """Whether this model may guide. Raises: BundleError, Refused, or a Transient where it cannot be decided now."""
        if self.proof is not None and manifest.intended_use == bundle.TRIAL and bundle.TRIAL not in self.uses:
            digest = hashlib.sha256(bundle.manifest_bytes(manifest)).hexdigest()
            self.proof.supervised(manifest.version, digest, self.device)
        else:
            bundle.check_use(manifest, self.uses)

    def check_new(self, manifest: bundle.Manifest) -> None:
        """Before a model is fetched, and before it is used. Raises: BundleError for a vocabulary that is newer than
        this device's, and as `check`."""
        bundle.check_vocabulary(manifest)
        self.check(manifest)

    def barred(self, folder: Path) -> str | None:
        """Why the model in a folder may not guide, None: it may, as far as that is decided here (one whose manifest
        cannot be read is found when it is loaded). Raises: a Transient where it cannot be decided now."""
        try:
            manifest = bundle.read_manifest(folder)
        except BundleError:
            return None
        try:
            self.check(manifest)
        except (BundleError, Refused) as error:
            return Exception.__str__(error)
        return None

    def allowed(self, folder: Path) -> frozenset[str]:
        """The intended uses with which the model in a folder may be loaded. Raises nothing."""
        try:
            manifest = bundle.read_manifest(folder)
            self.check(manifest)
        except WaycueError:
            return self.uses
        return self.uses | {manifest.intended_use}


def settings_allow(config: Config) -> frozenset[str]:
    """The intended uses that the settings let guide: all in a replay, where nobody walks by what is said."""
    if is_replay(config):
        return bundle.FOR_JUDGING
    vouched = {bundle.DEMO: config.guidance.allow_demo_model, bundle.TRIAL: config.guidance.allow_trial_model}
    return bundle.FOR_WALKS | {use for use, yes in vouched.items() if yes}
