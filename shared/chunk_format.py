"""What a chunk is, on the device and in labelled videos alike: its length, and the rate of its sound."""

from __future__ import annotations

CHUNK_S = 2.0
SHORTEST_CHUNK_S = 0.5  # the end of a walk or a video that is shorter is left out
SAMPLE_RATE_HZ = 16_000
