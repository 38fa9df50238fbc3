"""Which models there are (registry), which device gets which (rollouts), and how they are signed and offered."""
