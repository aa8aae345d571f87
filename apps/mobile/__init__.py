"""The phone window."""
