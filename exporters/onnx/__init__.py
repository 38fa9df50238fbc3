"""Model → ONNX bundle: export, quantise, check against PyTorch, write."""
