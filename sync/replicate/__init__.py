"""Blind replication: frontiers, proved ranges, live pushes, records, history and fork proofs over one channel."""
