"""Feeds: append-only logs with signed Merkle heads, equal to Hypercore at the data level, and the entries in them."""
