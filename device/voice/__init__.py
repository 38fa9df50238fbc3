"""The device's voice: espeak-ng → phrases → a sink (sound card, WAV file, or nothing)."""
