"""The shell around the OS keyring: 32 random bytes under the name of a profile, only when a person asked for it."""

from __future__ import annotations

import base64
import binascii

import keyring
from keyring.errors import KeyringError

from identity.errors import KithkinError
from identity.keys import Random

SERVICE = "kithkin"


def read_secret(profile: str) -> bytes | None:
    """The secret kept for this profile, or None.  A missing or locked keyring is None as well: ask for a passphrase."""
    try:
        text = keyring.get_password(SERVICE, profile)
    except (KeyringError, RuntimeError):
        return None
    if text is None:
        return None
    try:
        secret = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return secret if len(secret) == 32 else None


def make_secret(profile: str, rng: Random) -> bytes:
    """Puts fresh bytes into the keyring and returns them.  Raises KithkinError `no_passphrase` without a keyring."""
    secret = rng(32)
    try:
        keyring.set_password(SERVICE, profile, base64.b64encode(secret).decode("ascii"))
    except (KeyringError, RuntimeError):
        raise KithkinError("no_passphrase", "This system has no keyring that can be used; keep a passphrase.") from None
    return secret


def forget_secret(profile: str) -> None:
    """Takes it out again; one that is not there is gone already."""
    try:
        keyring.delete_password(SERVICE, profile)
    except (KeyringError, RuntimeError):
        return
