"""Which chunks are kept, and why; sealing puts them into the outbox whole.

Promise: a correction that the wearer spoke is kept whatever else is full.
"""
