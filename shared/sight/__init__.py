"""From the boxes of a detector to what stands in a walker's way: metres from the camera's place, reach, and a score.

Pure numpy, the same on device and server. What a detector says of a picture is worth nothing until it is known how far
away the thing stands and whether it stands in the path: both follow from the foot of its box, the ground being level.
"""

from shared.sight.boxes import Box, pick
from shared.sight.camera import Camera, GroundPoint
from shared.sight.hazards import BoxScoring, scored
from shared.sight.reach import CORRIDOR_M, Reach, reach

__all__ = ["CORRIDOR_M", "Box", "BoxScoring", "Camera", "GroundPoint", "Reach", "pick", "reach", "scored"]
