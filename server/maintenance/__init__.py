"""Check and repair of a home: database, logs and files say the same."""
