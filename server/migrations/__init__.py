"""Database migrations, run by `server.store.open_store`. Each file in versions/ is one step and is never edited again."""
