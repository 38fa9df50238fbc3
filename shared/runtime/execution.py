"""How graphs run: threads, processor cores, execution providers.

Guidance shares a small computer with the recorder: its threads rarely wait by spinning, and can be kept to some cores,
which leaves the others to capture and encoding. Processor time of a look of the starter ten times a second on two
threads: 2.7 ms without spinning, 4.6 ms where threads spin while a graph runs, 34 ms as onnxruntime does by default.

Between two nodes of a large graph they spin for 20 µs, which is mostly enough to be there for the next one: a thread
that sleeps is woken 150 times in a pass of the decoder. A pass of SmolVLM2-256M's shape over two rows takes 7.3 ms
without spinning and 5.8 ms so, for 1 % more processor time; 60 or 1000 µs gain nothing more. In a graph as small as the
starter's it costs more than it gains: 4.5 ms of processor time a look instead of 3.8. Never between runs.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import onnxruntime

from shared.errors import ConfigError

CPU = "CPUExecutionProvider"
PROVIDERS = {
    "cpu": (CPU,),
    "cuda": ("CUDAExecutionProvider", CPU),
    "tensorrt": ("TensorrtExecutionProvider", "CUDAExecutionProvider", CPU),
}
SPIN_US, SPIN_FROM_BYTES = "20", 32 * 1024 * 1024
QUIET = 3  # errors only: a provider that leaves nodes to the processor warns about each


@dataclass(frozen=True, slots=True)
class Execution:
    """Where and with what a bundle's graphs run."""

    threads: int = 2
    """Processor threads of each graph."""
    cores: tuple[int, ...] = ()
    """Cores that the model may run on, from 0; empty = any."""
    providers: tuple[str, ...] = (CPU,)
    """ONNX Runtime's execution providers for the encoders, the preferred one first; the processor always comes last."""
    decoder_providers: tuple[str, ...] = (CPU,)
    """The same for the decoder, whose weights are packed for processors."""

    @classmethod
    def of(cls, *, threads: int, cores: str, provider: str) -> Execution:
        """From settings. cores: "1-3" or "2,3", empty = any; provider: cpu, cuda or tensorrt. Raises: ConfigError."""
        return cls(threads, _numbers(cores), PROVIDERS[provider])

    def check(self) -> None:
        """Raises: ConfigError for a provider that this onnxruntime lacks, or a core that this machine lacks."""
        known = onnxruntime.get_available_providers()
        for name in (*self.providers, *self.decoder_providers):
            if name not in known:
                raise ConfigError(
                    f"This onnxruntime cannot run models with {name!r}; it has {', '.join(known)}.",
                    hint="Install the one for this machine (a Jetson: docs/operations.md), or set guidance.provider.",
                )
        missing = sorted(set(self.cores) - os.sched_getaffinity(0)) if self.cores else []
        if missing:
            raise ConfigError(
                f"The model is to run on core {missing[0]}, which this machine does not offer.",
                hint="Change guidance.cores; an empty list means any core.",
            )

    def session(self, file: Path, *, providers: tuple[str, ...] | None = None) -> onnxruntime.InferenceSession:
        """Open one graph. Raises: whatever onnxruntime raises for a file that is no graph."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = QUIET
        large = file.stat().st_size >= SPIN_FROM_BYTES
        options.add_session_config_entry("session.intra_op.allow_spinning", "1" if large else "0")
        options.add_session_config_entry("session.intra_op.spin_duration_us", SPIN_US)
        options.add_session_config_entry("session.force_spinning_stop", "1")
        if self.cores and self.threads > 1:
            everywhere = ",".join(str(core + 1) for core in self.cores)  # counted from 1 there
            affinities = ";".join([everywhere] * (self.threads - 1))  # the calling thread is not in the list
            options.add_session_config_entry("session.intra_op_thread_affinities", affinities)
        chosen = dict.fromkeys((*(self.providers if providers is None else providers), CPU))
        return onnxruntime.InferenceSession(str(file), options, providers=list(chosen))

    def keep_this_thread(self) -> None:
        """Keep the calling thread to the model's cores: it computes beside the graphs' own threads."""
        if self.cores:
            os.sched_setaffinity(0, self.cores)


def _numbers(text: str) -> tuple[int, ...]:
    """ "1-3,5" → (1, 2, 3, 5)."""
    cores: set[int] = set()
    for part in filter(None, text.replace(" ", "").split(",")):
        ends = re.fullmatch(r"(\d{1,3})(?:-(\d{1,3}))?", part)
        if ends is None:
            raise ConfigError(f"guidance.cores is {text!r}.", hint='Write for example "1-3" or "2,3".')
        cores.update(range(int(ends[1]), int(ends[2] or ends[1]) + 1))
    return tuple(sorted(cores))
