"""Decisions of people about moments, and the statistics and exports made from them."""
