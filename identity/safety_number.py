"""The safety number: 60 digits that two people compare (`docs/protocol.md`, "Safety number").

30 digits from each root key, the lower key's first, so both sides see one number.
"""

from __future__ import annotations

from identity.digest import digest
from identity.labels import Label

GROUPS = 6  # of five digits, for each key


def safety_number(one: bytes, other: bytes) -> str:
    """60 digits as twelve groups of five, for two 32-byte root keys in either order."""
    return " ".join(group for key in sorted((one, other)) for group in groups(key))


def groups(root: bytes) -> list[str]:
    """Six groups: 5 bytes of BLAKE2b-512(label, R) each, little-endian, mod 100,000."""
    hashed = digest(Label.SAFETY, root, size=64)
    return [f"{int.from_bytes(hashed[5 * n : 5 * n + 5], 'little') % 100_000:05}" for n in range(GROUPS)]
