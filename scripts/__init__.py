"""What a developer runs from a checkout; none of it is installed."""

from shared.privacy import stop_telemetry

stop_telemetry()
