"""The search index: a port with backends on DuckDB, on SQLite FTS5 and in memory."""
