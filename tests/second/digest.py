"""Hashes and labels: section 2 of docs/protocol.md, "Hashes, signatures and labels"."""

from __future__ import annotations

import hashlib


def blake(label: bytes, data: bytes, size: int = 32) -> bytes:
    """BLAKE2b(label, data): `person` is the label."""
    return hashlib.blake2b(data, digest_size=size, person=label).digest()


def derive(key: bytes, label: bytes, data: bytes, size: int = 32) -> bytes:
    """derive(key, label, data): keyed BLAKE2b, the one key derivation and the one MAC."""
    return hashlib.blake2b(data, digest_size=size, key=key, person=label).digest()


def plain(data: bytes) -> bytes:
    """H: unkeyed BLAKE2b-256 without a label, as Hypercore hashes (section 7)."""
    return hashlib.blake2b(data, digest_size=32).digest()
