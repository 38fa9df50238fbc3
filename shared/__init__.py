"""What both sides of waycue must do identically: see docs/architecture.md."""

from shared.privacy import stop_telemetry

stop_telemetry()
