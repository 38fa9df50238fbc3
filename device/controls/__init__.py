"""What the wearer presses: buttons and keys, and what each press does."""
