"""The dataset: content-addressed files, an append-only log of rows, and which rows teach.

Promise: merging is idempotent and durable before it is acknowledged; a later row replaces an earlier one of the same
moment, and nothing is deleted.
"""
