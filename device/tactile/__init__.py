"""Guidance for the skin: what the policy says, as vibration of one motor or two."""
