"""Measurements that can be repeated: `make bench`, or `make bench NAME=x` for one. Each prints its own figures."""

from shared.privacy import stop_telemetry

stop_telemetry()
