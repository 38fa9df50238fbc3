"""What leaves waycue: models as ONNX bundles, datasets in other tools' formats."""

from shared.privacy import stop_telemetry

stop_telemetry()
