"""The body-worn side of waycue: sees, speaks, records what was flagged, and syncs it. See docs/architecture.md."""
