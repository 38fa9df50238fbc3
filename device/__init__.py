"""The body-worn side of waycue: sees, speaks, records what was flagged, and syncs it. See docs/architecture.md."""

from shared.privacy import stop_telemetry

stop_telemetry()
