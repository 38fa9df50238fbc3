"""From the boxes of a detector to what stands in a walker's way: metres from the camera's place, reach, and a score.

Pure numpy, the same on device and server. What a detector says of a picture is worth nothing until it is known how far
away the thing stands and whether it stands in the path: both follow from the foot of its box, the ground being level.
Over several looks boxes become tracks, and tracks have speeds: what comes, what crosses and what stands is measured.
"""

from shared.sight.boxes import Box, pick
from shared.sight.camera import Camera, GroundPoint
from shared.sight.follow import Followed, Sight, View, follow, followed
from shared.sight.hazards import BoxScoring, scored
from shared.sight.motion import APPROACHING, CLOSING_FAST, CROSSING, Motion, motion_of, state_of
from shared.sight.reach import CORRIDOR_M, Reach, reach
from shared.sight.tracks import Sighting, Track, Tracks
from shared.sight.turning import Thumb, thumb
from shared.sight.uprightness import Uprightness, due, turned_copy, weigh

__all__ = [
    "APPROACHING", "CLOSING_FAST", "CORRIDOR_M", "CROSSING", "Box", "BoxScoring", "Camera", "Followed", "GroundPoint",
    "Motion", "Reach", "Sight", "Sighting", "Thumb", "Track", "Tracks", "Uprightness", "View", "due", "follow",
    "followed", "motion_of", "pick", "reach", "scored", "state_of", "thumb", "turned_copy", "weigh",
]  # fmt: skip
