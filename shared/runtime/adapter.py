"""What one wearer's confirmed moments taught beside the model: a small graph of its own in the bundle.

    wearer_adapter.onnx   image_features [1, n, e], hazard_logits [1, objects, sides] → adapted_features, adapted_logits

It stands between what sees and what words: every look and every sentence goes through it. The other graphs are those
of the model without it, bit for bit. A runtime that does not know the file leaves it alone.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from shared.bundle import WEARER_ADAPTER
from shared.runtime.execution import Execution

FEATURES, LOGITS = "image_features", "hazard_logits"
ADAPTED_FEATURES, ADAPTED_LOGITS = "adapted_features", "adapted_logits"


class WearerAdapter:
    """Not thread-safe: one caller at a time."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session

    @classmethod
    def open(cls, folder: Path, execution: Execution, *, pairs: tuple[int, int]) -> WearerAdapter | None:
        """The adapter of a bundle, None where it has none.

        pairs: objects and sides of the model
        raises: ValueError where the graph is for another model; whatever onnxruntime raises
        """
        if not (folder / WEARER_ADAPTER).is_file():
            return None
        session = execution.session(folder / WEARER_ADAPTER)
        shapes = {item.name: item.shape for item in session.get_inputs()}
        outputs = [item.name for item in session.get_outputs()]
        if outputs != [ADAPTED_FEATURES, ADAPTED_LOGITS] or shapes.keys() != {FEATURES, LOGITS}:
            raise ValueError(f"{WEARER_ADAPTER} takes {sorted(shapes)} and gives {outputs}")
        if tuple(shapes[LOGITS][1:]) != pairs:
            raise ValueError(f"{WEARER_ADAPTER} is for {shapes[LOGITS][1:]} hazards, the model has {list(pairs)}")
        return cls(session)

    def __call__(
        self, tokens: NDArray[np.float32], logits: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Image tokens [1, n, e] and hazard logits [1, objects, sides] → the same, adapted."""
        features, hazards = self._session.run(None, {FEATURES: tokens, LOGITS: logits})
        return features, hazards
