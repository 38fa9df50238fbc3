"""A Raspberry Pi's cameras on this machine: picamera2's own package over a libcamera that is made here."""
