"""What leaves waycue: models as ONNX bundles, datasets in other tools' formats."""
