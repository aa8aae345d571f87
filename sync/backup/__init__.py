"""Backups: the rows of a store in one encrypted file that only grows."""
