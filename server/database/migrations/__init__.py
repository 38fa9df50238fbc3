"""Database migrations, run by `server.database.store.open_store`. Each file in versions/ is one step, never edited
again."""
