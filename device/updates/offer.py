"""What an offer must look like before anything is done about it.

Promises: sizes and counts are bounded before a byte is fetched for them; where offers must be signed, one without
signed metadata goes no further than here.
"""

from __future__ import annotations

from dataclasses import replace

from shared import bundle, messages
from shared.errors import MessageError, Refused
from shared.messages import Offer
from shared.signed_files import MAX_FILES, limit_bytes


def read_offer(payload: bytes, *, signed: bool) -> Offer:
    """An offer that may be followed, if its metadata prove it. Unsigned ones come back without any metadata.

    raises: MessageError for what is no offer, Refused for an unsigned one where `signed` ones are asked for
    """
    offer = messages.decode(Offer, payload)
    if not 0 < offer.manifest_size <= bundle.MAX_MANIFEST_BYTES:
        raise MessageError(f"Offer.manifest_size: {offer.manifest_size} is not the size of a manifest.")
    if not signed:
        return replace(offer, metadata=())
    if not offer.metadata:
        raise Refused(f"The offer of {offer.version} is not signed.", hint="Only the server that enrolled us signs.")
    _check_metadata(offer)
    return offer


def _check_metadata(offer: Offer) -> None:
    names = [file.name for file in offer.metadata]
    if len(names) > MAX_FILES:
        raise MessageError(f"Offer.metadata: {len(names)} files; at most {MAX_FILES} are fetched.")
    for file in offer.metadata:
        limit = limit_bytes(file.name)
        if file.size_bytes > limit:
            raise MessageError(f"Offer.metadata: {file.name} has {file.size_bytes} bytes; {limit} are read.")
    roles = [name.rpartition(".json")[0].rpartition(".")[2] for name in names]
    if any(roles.count(role) > 1 for role in ("snapshot", "targets")):  # each may have its full size
        raise MessageError("Offer.metadata: more than one snapshot, or more than one list of targets.")
    if len(set(names)) != len(names):
        raise MessageError("Offer.metadata: a file is named twice.")
