"""The apps: command line, node, desktop and phone, all of them over `sync.service`."""

VERSION = "0.1.0"
"""That of `pyproject.toml`; asking the installed package for it takes longer than printing it."""
