"""Every secret that a profile on disk holds, read out of it by the product's own classes."""

from __future__ import annotations

import os
from pathlib import Path

from identity.digest import derive
from identity.keystore import open_keystore
from identity.labels import Label
from sync.engine.profile import Profile
from sync.store.sqlite import SqliteStore


def secrets_of(folder: Path, passphrase: str) -> dict[str, bytes]:
    """Name -> bytes: the database key and those that follow from it, keys of the device, writers, epochs, invites."""
    database = open_keystore((folder / "keystore").read_bytes(), passphrase=passphrase, keyring_secret=None)
    found = {"database key": database, "store key": derive(database, Label.DATABASE)}
    found["index key"] = derive(database, Label.INDEX)
    store = SqliteStore(folder / "store.db", found["store key"])
    try:
        profile = Profile(store, os.urandom, None)
        keys = profile.account.keys
        found |= {"S": keys.signing.seed, "D": keys.agreement.secret}
        for number, prekey in enumerate(keys.prekeys):
            found[f"P {number}"] = prekey.key.agreement.secret
            if prekey.key.kem is not None:
                found[f"K {number}"] = prekey.key.kem.seed
        for week, key in profile.account.transports:
            found[f"T {week}"] = key.seed
        for invite in profile.view.invites.values():
            if invite.seed is not None and invite.secret is not None:
                found |= {f"I {invite.key.hex()[:8]}": invite.seed, f"invite {invite.key.hex()[:8]}": invite.secret}
        for space in profile.spaces.values():
            name = space.id.hex()[:8]
            if space.mine is not None and space.mine.key is not None:
                found[f"W {name}"] = space.mine.key.seed
            for epoch in space.keys.values():
                found |= {f"E {epoch.id.hex()[:8]}": epoch.secret, f"Z {epoch.id.hex()[:8]}": epoch.z}
            for feed in space.feed_store.feeds.values():
                for seq, entry in enumerate(space.feed_store.entries(feed, 0, feed.length)):
                    if entry.key:
                        found[f"message key {name} {seq}"] = entry.key
    finally:
        store.close()
    return found
