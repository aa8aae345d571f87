"""The store: a port with backends on encrypted SQLite and in memory."""
