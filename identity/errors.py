"""The error seam of every package: one base error with a stable code.

A code is part of the command line contract (`docs/protocol.md`, "Codes"); the message is one plain sentence
that a person can act on.  A peer's misbehaviour is never one of these: it is a verdict value.
"""

from __future__ import annotations


class KithkinError(Exception):
    """What a person or a caller can act on.  `code` is stable, `message` is one sentence."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class DecodeError(ValueError):
    """The one error of every decoder: these bytes are not a value of that format."""
