"""What both sides of waycue must do identically: see docs/architecture.md."""
