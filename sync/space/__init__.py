"""One space: feeds, keys, members, the ways in and out, facts and timeline rows."""
