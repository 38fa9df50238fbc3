from shared.privacy import stop_telemetry

stop_telemetry()
