"""SQLite tables and their migrations."""
