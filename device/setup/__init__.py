"""First use, and later changes, by a QR code held before the camera: everything spoken, nothing to be seen or typed."""
