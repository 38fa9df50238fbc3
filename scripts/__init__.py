"""What a developer runs from a checkout; none of it is installed."""
