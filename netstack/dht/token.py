"""Tokens: a node that asked us lately from a host may write here; one that only claims that host's address may not.

A token is a keyed hash of the requester's host (without the port: a NAT may change it).  There are two secrets,
replaced every 7.5 s, so a token is good for 7.5 to 15 s.
"""

from __future__ import annotations

from hashlib import blake2b
from hmac import compare_digest

from identity.keys import Random

TURN = 7.5  # seconds


class Tokens:
    """Nothing runs here: which secrets count follows from `now`."""

    __slots__ = ("_rng", "_secrets", "_turn")

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._turn = -1
        self._secrets: tuple[bytes, bytes] | None = None  # the present one and the one before

    def token(self, host: str, now: float) -> bytes:
        """The 32 bytes that let whoever is at `host` write here now."""
        return keyed(host, self._current(now)[0])

    def valid(self, token: bytes, host: str, now: float) -> bool:
        """Whether `host` was given that token lately."""
        return any(compare_digest(token, keyed(host, secret)) for secret in self._current(now))

    def _current(self, now: float) -> tuple[bytes, bytes]:
        turn = int(now // TURN)
        secrets = self._secrets
        if secrets is None or turn > self._turn + 1:
            secrets = self._rng(32), self._rng(32)  # both too old: as at the start
        elif turn == self._turn + 1:
            secrets = self._rng(32), secrets[0]
        self._secrets, self._turn = secrets, max(turn, self._turn)
        return secrets


def keyed(host: str, secret: bytes) -> bytes:
    """The token of a host under one secret."""
    return blake2b(host.encode(), digest_size=32, key=secret).digest()
