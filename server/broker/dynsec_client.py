"""Makes the broker's access rules those that are wanted, over Mosquitto's `$CONTROL/dynamic-security/v1`.

Promises:

1. After `sync` returned, the broker has confirmed exactly the wanted rules; a session that must end has ended.
2. The broker's rules are read at each connection and every minute: rules restored from a backup, or changed by hand,
   are put right.
3. It is a connection of its own, under a certificate that may do nothing else: a server that is busy taking in a clip
   still shuts a stolen device out within a second.
"""

from __future__ import annotations

import itertools
import json
import logging
import queue
import ssl
import threading
from collections.abc import Mapping, Sequence
from typing import Any, assert_never

from server.broker import dynsec_rules
from server.broker.dynsec_rules import AccessRules, Command
from shared import mqtt
from shared.clock import Clock
from shared.errors import MessageError, Transient, Unreachable

RECONNECT_MAX_S = 5
ANSWER_TIMEOUT_S = 10.0
READ_AGAIN_S = 60.0
BATCH = 50  # commands in one message: the plugin writes its file after each, 100 of them take it 0.1 s
PAGE = 200  # clients in one answer: about 30 KB
logger = logging.getLogger(__name__)

Responses = list[Mapping[str, Any]]


class DynsecClient:
    """The connection that may change the rules. One thread calls `sync`; paho has its own."""

    def __init__(self, host: str, port: int, *, tls: ssl.SSLContext, clock: Clock) -> None:
        self.host, self.port = host, port
        self.connected = threading.Event()
        self.refusal: str | None = None
        """Why the broker does not let it change the rules; None = it does, or did not answer yet."""
        self._clock = clock
        self._current: AccessRules | None = None
        self._read_at_s = 0.0
        self._session = 0
        self._numbers = itertools.count(1)
        self._responses: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        listen = (mqtt.Subscription(dynsec_rules.RESPONSE),)
        settings = mqtt.MqttSettings(dynsec_rules.CONTROLLER, listen, tls=tls, reconnect_max_s=RECONNECT_MAX_S)
        self._client = mqtt.MqttClient(settings, self._on_event)

    def start(self) -> None:
        """Connect in the background, now and whenever the connection is lost."""
        self._client.start(self.host, self.port)

    def stop(self, timeout_s: float = 5.0) -> None:
        """Disconnect. Idempotent, and does not hang."""
        self._client.stop(timeout_s)
        self.connected.clear()

    def sync(self, devices: Mapping[str, str]) -> int:
        """Make the rules those for these devices (name → mark). Returns how many commands that took.

        raises: Transient where the broker is away, does not answer or refuses a command; MessageError
        """
        wanted = dynsec_rules.wanted(devices)
        session, now_s = self._session, self._clock.monotonic_s()
        if self._current is None or now_s - self._read_at_s > READ_AGAIN_S:
            self._current, self._read_at_s = None, now_s
            self._current = self._read()
        commands = dynsec_rules.diff(wanted, self._current)
        try:
            for start in range(0, len(commands), BATCH):
                self._call(commands[start : start + BATCH])
        except Transient:
            self._current = None  # some of them may have been carried out
            raise
        self._current = wanted if session == self._session else None
        return len(commands)

    def _read(self) -> AccessRules:
        """Read the broker's rules; set it to deny by default."""
        roles: dict[str, Any] = {}
        clients: dict[str, Any] = {}
        try:
            for start in itertools.count(0, PAGE):
                responses = self._call(dynsec_rules.read_commands(offset=start, count=PAGE))
                page = dynsec_rules.page_of(responses)
                roles.update(page.roles)
                clients.update(page.clients)
                if len(page.clients) < PAGE and len(page.roles) < PAGE:
                    break
            if not dynsec_rules.denies(responses):
                logger.warning("The broker %s:%s allowed by default; it is set to deny.", self.host, self.port)
                self._call([dynsec_rules.deny()])
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            raise MessageError(
                f"The broker's plugin answers in words that are not known ({error!r}).",
                hint="Use Mosquitto 2.0 or 2.1 with the configuration of `waycue-server broker config`.",
            ) from None
        return AccessRules(roles, clients)

    def _call(self, commands: Sequence[Command]) -> Responses:
        """Send commands. Returns the responses. Raises: Transient where any was refused or nobody answered."""
        if not self.connected.is_set():
            raise Unreachable(
                self.refusal or f"The broker {self.host}:{self.port} is not connected; its rules wait.",
                hint="See that it runs with the configuration of `waycue-server broker config`.",
            )
        while not self._responses.empty():
            self._responses.get()
        number = str(next(self._numbers))
        tagged = [{**command, "correlationData": number} for command in commands]
        # QoS 0: what the broker did not get at once must not reach it after a reconnect, when it may be wrong.
        self._client.publish(dynsec_rules.CONTROL, json.dumps({"commands": tagged}).encode(), qos=0)
        responses = self._response(number)
        errors = [f"{item.get('command')}: {item['error']}" for item in responses if "error" in item]
        if errors or len(responses) != len(commands):
            raise Transient(f"The broker refused to change its rules: {'; '.join(errors[:3]) or 'no answer to some'}.")
        return responses

    def _response(self, number: str) -> Responses:
        deadline_s = self._clock.monotonic_s() + ANSWER_TIMEOUT_S
        while (left_s := deadline_s - self._clock.monotonic_s()) > 0:
            try:
                raw = json.loads(self._responses.get(timeout=left_s))
                responses: Responses = raw["responses"]
                if responses and responses[0].get("correlationData") == number:
                    return responses
            except queue.Empty:
                break
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                raise Transient(f"The broker's plugin answered in words that are not known ({error!r}).") from None
        raise Unreachable(f"The broker {self.host}:{self.port} did not answer to a change of its rules.")

    # paho's thread

    def _on_event(self, event: mqtt.MqttEvent) -> None:
        broker = f"The broker {self.host}:{self.port}"
        match event:
            case mqtt.ConnectRefused(reason):
                self.refusal = f"{broker} refused {dynsec_rules.CONTROLLER}: {reason}."
            case mqtt.SubscribeRefused():
                self.refusal = f"{broker} does not let {dynsec_rules.CONTROLLER} change its rules."
            case mqtt.Subscribed():
                self.refusal = None
                self._session += 1
                self._current = None
                self.connected.set()
            case mqtt.Disconnected():
                self.connected.clear()
            case mqtt.MessageReceived():
                self._responses.put(event.payload)
            case mqtt.ConnectAccepted() | mqtt.PublishAnswered():
                pass
            case _:
                assert_never(event)
