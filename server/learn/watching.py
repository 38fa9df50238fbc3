"""What watches a training: its losses and how long it will take, the time that it may take, curves for TensorBoard."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from server.learn.eta import Eta
from shared import atomic
from shared.clock import Clock

RUNS_KEPT = 30
Progress = Callable[[str], None]


class Losses(TrainerCallback):
    """Says them as they come, and remembers them."""

    def __init__(self, steps: int, progress: Progress) -> None:
        self._steps, self._progress, self._seen, self._eta = steps, progress, list[float](), Eta(steps)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """What was logged before a save that is gone on from."""
        self._seen = [float(logs["loss"]) for logs in state.log_history if "loss" in logs]
        self._eta.begin(state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if logs and "loss" in logs:
            self._seen.append(float(logs["loss"]))
            at = state.global_step
            self._progress(f"LoRA step {at}/{self._steps}, loss {self._seen[-1]:.3f}{self._eta.after(at)}")

    def mean(self, *, first: bool) -> float:
        """Of the first or last tenth."""
        count = max(1, len(self._seen) // 10)
        part = self._seen[:count] if first else self._seen[-count:]
        return sum(part) / max(1, len(part))


class Deadline(TrainerCallback):
    """Ends a training that has taken the time it may take; what it learnt until then is judged like any night's."""

    def __init__(self, seconds_most: float | None, clock: Clock, progress: Progress) -> None:
        self._most, self._clock, self._progress, self._began_s = seconds_most, clock, progress, 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._began_s = self._clock.monotonic_s()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._most is None or self._clock.monotonic_s() - self._began_s < self._most:
            return
        if state.global_step < state.max_steps:
            self._progress(f"learn.hours_most is over: the training ends at step {state.global_step}")
        control.should_training_stop = True


class Curves(TrainerCallback):
    """Everything that is logged, where `tensorboard --logdir` finds it. Old runs are deleted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        from torch.utils.tensorboard import SummaryWriter  # a second to import, and only here

        atomic.make_dirs(self._folder.parent)
        runs = [run for run in self._folder.parent.iterdir() if run.is_dir() and run != self._folder]
        runs.sort(key=lambda run: run.stat().st_mtime)
        atomic.remove_trees(runs[: 1 - RUNS_KEPT])
        self._writer = SummaryWriter(str(self._folder), purge_step=state.global_step or None)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        for name, value in (logs or {}).items():
            if self._writer is not None and isinstance(value, int | float):
                self._writer.add_scalar(name, value, state.global_step)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._writer is not None:
            self._writer.close()
