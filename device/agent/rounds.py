"""One agent after another: after the set-up has let the device in, everything is built again, with the new identity."""

from __future__ import annotations

import threading
from dataclasses import replace

from device.agent.parts import AgentPorts, RunOptions
from device.agent.run import Agent
from device.config import Config
from shared.notify import ALIVE, notify


class Rounds:
    """`run` it, and `stop` it from a signal handler or another thread. Raises: ConfigError, as an Agent does."""

    def __init__(self, config: Config, options: RunOptions, ports: AgentPorts) -> None:
        self._config, self._options, self._ports = config, options, ports
        self._stopped = threading.Event()
        self.agent = Agent(config, options, ports)
        """The one that runs, or is to run."""

    def run(self) -> None:
        """Until an agent ends for another reason than the set-up. Raises: as an Agent does."""
        self.agent.run()
        while self.agent.restarts and not self._stopped.is_set():
            notify(ALIVE)  # the watchdog: an agent that takes long to end and to be built is no hang
            self.agent = Agent(self._config, replace(self._options, setup=False), self._ports)
            notify(ALIVE)
            if self._stopped.is_set():  # between the two
                self.agent.stop()
            self.agent.run()

    def stop(self) -> None:
        self._stopped.set()
        self.agent.stop()
