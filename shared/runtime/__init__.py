"""The guidance runtime: a bundle in, observations and instructions out. onnxruntime, tokenizers and numpy only.

The device, the evaluation and the gate run exactly this code.
"""

from shared.runtime.execution import Execution
from shared.runtime.golden import check_golden
from shared.runtime.model import GuidanceModel
from shared.runtime.seen import Hazard, Instruction, Observation

__all__ = ["Execution", "GuidanceModel", "Hazard", "Instruction", "Observation", "check_golden"]
