"""A device's certificate is renewed before it ends, over the connection that the old one opened.

    due ─→ up/renew (a request for a certificate) ─→ down/certificate ─→ checked, stored, used from the next connection

Promises:

1. It begins when a third of the certificate's life is left, by the clock floor's time, and is repeated until answered:
   a server that is off for a week costs nothing.
2. The new certificate must be for our key and our name, from the authority that we trust already, and end later than
   the one we have. Whatever else comes is counted and dropped. The authority itself never changes this way. The key
   that moments are sealed to may come along, or by itself, if that authority vouches for it and it is no older one.
3. The swap is one durable rename. Until the next connection the old certificate is in use, and it is still good.
4. `<state>/renew.json`, which `waycue-device renew` writes, asks for it at once; with a new key if it says so. The new
   key is durable before it is used, and the old one is in use until the answer came.
"""

from __future__ import annotations

import json
import logging
import ssl
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from device.identity import identity
from device.identity.identity import Identity
from shared import atomic, messages, topics
from shared.clock import Clock
from shared.errors import ConfigError, MessageError
from shared.messages import Certificate, Renew

REQUEST = "renew.json"
NEXT_KEY = "next.key"
ASK_AGAIN_S = 300.0
STEPS = ("next_key_kept", *identity.STEPS, "forgotten")
"""The durable steps, in their order."""
logger = logging.getLogger(__name__)


def is_due(*, issued_s: float, not_after_s: float, now_s: float) -> bool:
    return not_after_s - now_s < (not_after_s - issued_s) / 3


def request_renewal(state_dir: Path, *, rekey: bool) -> None:
    """Ask the agent, running or not, for a new certificate. Raises: OSError."""
    atomic.write_json(state_dir / REQUEST, {"rekey": rekey})


class Renewal:
    """current: the identity in use. context: what connections use, brought up to date in place on the link's thread.
    publish: the link's; False = not now. crash_point: called with each of STEPS."""

    def __init__(
        self,
        state_dir: Path,
        current: Identity,
        context: ssl.SSLContext,
        *,
        publish: Callable[[str, bytes], bool],
        clock: Clock,
        crash_point: atomic.Step = atomic.no_step,
    ) -> None:
        self.identity = current
        self.counters: Counter[str] = Counter()
        """asked, renewed, foreign."""
        self.on_renewed: Callable[[Identity], object] = lambda identity: None
        """Called with what is in use from now on."""
        self._state_dir = state_dir
        self._context = context
        self._publish = publish
        self._clock = clock
        self._crash_point = crash_point
        self._asked_s = float("-inf")
        self._lock = threading.Lock()

    def tick(self) -> bool:
        """Ask, if it is time to. Returns whether it did. Any thread."""
        with self._lock:
            now_s, held = self._clock.monotonic_s(), self.identity
            rekey = self._requested_rekey()
            due = is_due(issued_s=held.issued_utc, not_after_s=held.not_after_utc, now_s=held.floor.now_s())
            if not (due or rekey is not None) or now_s - self._asked_s < ASK_AGAIN_S:
                return False
            try:
                request = self._request(rekey=bool(rekey))
            except OSError as error:
                self._asked_s = now_s
                logger.error("The certificate cannot be renewed now: %s", error)
                return False
            if not self._publish(topics.renew(held.device), messages.encode(request)):
                return False
            self._asked_s = now_s
            self.counters["asked"] += 1
            return True

    def on_certificate(self, _levels: list[str], payload: bytes) -> None:
        """Handler of `down/certificate`, on the link's thread. Raises: OSError; the old identity then stays."""
        with self._lock:
            try:
                answer = messages.decode(Certificate, payload)
                files = self._renewed(answer.certificate_pem.encode()) | self._sealing(answer.sealing_pem.encode())
            except (MessageError, ValueError, *identity.UNREADABLE) as error:
                self.counters["foreign"] += 1
                logger.warning("A certificate that came is not used: %s", error)
                return
            if files != identity.files_of(self.identity):
                identity.store(self._state_dir, files, crash_point=self._crash_point)
                self._use()
            if answer.certificate_pem:
                self._done()
                self._crash_point("forgotten")

    def _renewed(self, certificate_pem: bytes) -> dict[str, bytes]:
        """The files of the identity with this certificate. Raises: ValueError, OSError."""
        held = self.identity
        files = identity.files_of(held)
        key = self._next_key()
        if certificate_pem in (b"", held.certificate_pem):
            return files  # the server saw no need: a repeated question, or a request that was met before a power cut
        if key is None or not identity.is_for(x509.load_pem_x509_certificate(certificate_pem), key):
            key = files[identity.KEY]
        made = identity.check_pair(certificate_pem, key, held.ca_pem, held.device)
        if made.not_valid_after_utc.timestamp() <= held.not_after_utc and key == files[identity.KEY]:
            raise ValueError("it ends no later than the one in use")
        return {**files, identity.KEY: key, identity.CERTIFICATE: certificate_pem}

    def _sealing(self, sealing_pem: bytes) -> dict[str, bytes]:
        """The file of the key that moments are sealed to; none where the server names none. Raises: ValueError."""
        if not sealing_pem:
            return {}
        made = identity.check_sealing(sealing_pem, self.identity.ca_pem)
        held = self.identity
        if held.sealing_key not in (None, made) and identity.dated(sealing_pem) <= held.sealing_dated:
            # The broker keeps every answer: an older one, whose key somebody may have by now, must not come back.
            self.counters["foreign"] += 1
            logger.warning("A key for sealing that is older than the one in use is not used.")
            return {}
        return {identity.SEALING: sealing_pem}

    def _use(self) -> None:
        renewed = Identity.open(self._state_dir, floor=self.identity.floor)
        if renewed is None:
            raise ConfigError("The identity that was just written is gone.", hint=identity.AGAIN)
        self._context.load_cert_chain(renewed.folder / identity.CERTIFICATE, renewed.folder / identity.KEY)
        self.identity = renewed
        renewed.floor.raise_to(renewed.issued_utc)
        self._asked_s = float("-inf")
        self.counters["renewed"] += 1
        logger.info("The identity of %s is renewed.", renewed.device)
        self.on_renewed(renewed)

    def _done(self) -> None:
        for name in (REQUEST, NEXT_KEY):
            (self._state_dir / name).unlink(missing_ok=True)

    def _requested_rekey(self) -> bool | None:
        """Whether with a new key; None = nobody asked."""
        try:
            value = json.loads((self._state_dir / REQUEST).read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            logger.warning("%s cannot be read (%s): renewing with the same key.", self._state_dir / REQUEST, error)
            return False
        return isinstance(value, dict) and value.get("rekey") is True

    def _request(self, *, rekey: bool) -> Renew:
        own = (self.identity.folder / identity.KEY).read_bytes()
        if not rekey:
            return Renew(identity.certificate_request(own, self.identity.device))
        csr_pem = identity.certificate_request(self._next_key() or self._made_key(), self.identity.device)
        return Renew(csr_pem, identity.proof_by(own, csr_pem))

    def _made_key(self) -> bytes:
        """A new key, on disk before it is used."""
        made = identity.new_key()
        atomic.write_bytes(self._state_dir / NEXT_KEY, made, mode=0o600)
        self._crash_point("next_key_kept")
        return made

    def _next_key(self) -> bytes | None:
        """A new key that waits for its certificate; None = there is none, or it is damaged."""
        try:
            key = (self._state_dir / NEXT_KEY).read_bytes()
            identity.read_key(key)
        except (OSError, ValueError, UnsupportedAlgorithm):
            return None
        return key
