"""The public key of a feed: the hash of Hypercore's default manifest around one writer's key.

`docs/protocol.md`, "Feed"; npm `hypercore/lib/verifier.js`.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

_HYPERCORE = blake2b(b"hypercore", digest_size=32).digest()


def namespace(index: int) -> bytes:
    """H(H("hypercore") | index): 0 tree, 3 manifest, 4 default signer."""
    return blake2b(_HYPERCORE + bytes((index,)), digest_size=32).digest()


TREE = namespace(0)
MANIFEST = namespace(3)
SIGNER = namespace(4)


def manifest(writer: bytes) -> bytes:
    """69 bytes: version 1 | no flags | hash BLAKE2b | quorum 1 | one Ed25519 signer."""
    return b"\x01\x00\x00\x01\x01\x00" + SIGNER + writer


@lru_cache(maxsize=4096)
def core_key(writer: bytes) -> bytes:
    """The 32-byte core key of the feed whose only signer is `writer` (a checked Ed25519 key)."""
    return blake2b(MANIFEST + manifest(writer), digest_size=32).digest()


def discovery_key(core: bytes) -> bytes:
    """BLAKE2b("hypercore") keyed by the core key: names a feed to those who know it."""
    return blake2b(b"hypercore", digest_size=32, key=core).digest()
