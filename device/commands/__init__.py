"""waycue-device: what a person types, one module for each command."""
