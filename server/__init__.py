"""The server: it merges what devices send, shows it to caregivers, retrains, and offers better models."""

from shared.privacy import stop_telemetry

stop_telemetry()
