"""Attacks. Each is also tried with the control that stops it taken away: stopped then too, it would prove nothing."""
