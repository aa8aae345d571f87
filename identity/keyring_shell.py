"""The shell around the OS keyring: 32 random bytes under the path of a profile, only when a person asked for it."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path

import keyring
from keyring.errors import KeyringError

from identity.errors import KithkinError
from identity.keys import Random
from identity.paths import path_text

SERVICE = "kithkin"
_REFUSALS = (KeyringError, RuntimeError, OSError, UnicodeError)  # what the keyrings of systems fail with


def read_secret(profile: Path) -> bytes | None:
    """The secret kept for this profile, or None.  A missing or locked keyring is None as well: ask for a passphrase."""
    try:
        text = keyring.get_password(SERVICE, _name(profile))
    except _REFUSALS:
        return None
    if text is None:
        return None
    try:
        secret = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return secret if len(secret) == 32 else None


def make_secret(profile: Path, rng: Random) -> bytes:
    """Puts fresh bytes into the keyring and returns them.  Raises KithkinError `no_passphrase` without a keyring."""
    secret = rng(32)
    try:
        keyring.set_password(SERVICE, _name(profile), base64.b64encode(secret).decode("ascii"))
    except _REFUSALS:
        raise KithkinError("no_passphrase", "This system has no keyring that can be used; keep a passphrase.") from None
    return secret


def forget_secret(profile: Path) -> None:
    """Takes it out again; one that is not there is gone already."""
    try:
        keyring.delete_password(SERVICE, _name(profile))
    except _REFUSALS:
        return


def _name(profile: Path) -> str:
    return path_text(profile.resolve())
