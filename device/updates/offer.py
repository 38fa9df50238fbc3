"""What an offer must look like before anything is done about it, and what may prove it.

Promises: sizes and counts are bounded before a byte is fetched for them; where offers must be signed, one without
signed metadata goes no further than here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from shared import bundle, messages
from shared.errors import MessageError, Refused
from shared.messages import Offer
from shared.signed_files import MAX_FILES, limit_bytes


class Proof(Protocol):
    """What `device.updates.tuf_client.Trust` does for an updater."""

    def check(self, files: Mapping[str, bytes], offer: Offer, device: str) -> None:
        """Raises: a Permanent where these metadata do not prove the offer, a Transient where they have expired."""
        ...

    def supervised(self, version: str, manifest_sha256: str, device: str) -> None:
        """Return if a model on trial may guide here. Raises: Refused where it may not, a Transient where that cannot be
        told from what was verified before."""
        ...


def read_offer(payload: bytes, *, signed: bool) -> Offer:
    """An offer that may be followed, if its metadata prove it. Unsigned ones come back without any metadata.

    raises: MessageError for what is no offer, Refused for an unsigned one where `signed` ones are asked for
    """
    offer = messages.decode(Offer, payload)
    if not 0 < offer.manifest_size <= bundle.MAX_MANIFEST_BYTES:
        raise MessageError(f"Offer.manifest_size: {offer.manifest_size} is not the size of a manifest.")
    if not signed:
        return replace(offer, metadata=())
    names = {one.name for one in offer.metadata}
    if len(offer.metadata) > MAX_FILES:
        raise MessageError(f"Offer.metadata: {len(offer.metadata)} files; at most {MAX_FILES} are fetched.")
    for one in offer.metadata:
        if one.size_bytes > limit_bytes(one.name):
            raise MessageError(
                f"Offer.metadata: {one.name} has {one.size_bytes} bytes; {limit_bytes(one.name)} are read."
            )
    roles = [one.name.rpartition(".json")[0].rpartition(".")[2] for one in offer.metadata]
    if any(roles.count(role) > 1 for role in ("snapshot", "targets")):  # each may have its full size
        raise MessageError("Offer.metadata: more than one snapshot, or more than one list of targets.")
    if not names or len(names) != len(offer.metadata):
        raise Refused(f"The offer of {offer.version} is not signed.", hint="Only the server that enrolled us signs.")
    return offer
