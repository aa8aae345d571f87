"""A store with a row that this version does not know is refused with a code, and left as it is."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from identity.digest import derive
from identity.errors import KithkinError
from identity.keystore import open_keystore
from identity.labels import Label
from sync.service import profiles as profile
from sync.service.removal import KEYSTORE, STORE
from sync.store.port import Batch, Table
from sync.store.sqlite import SqliteStore


def test_store_with_an_unknown_row_is_refused_as_profile_unreadable(tmp_path: Path) -> None:
    async def story() -> None:
        folder = tmp_path / "ada"
        await profile.create_profile(folder, "pass", name="Ada")
        key = open_keystore((folder / KEYSTORE).read_bytes(), passphrase="pass")
        store = SqliteStore(folder / STORE, derive(key, Label.DATABASE))
        ((row, value),) = store.scan(Table.EPOCH, limit=1)
        batch = Batch()
        batch.put(Table.EPOCH, row, value[:64])
        store.write(batch, durable=True)
        store.close()
        with pytest.raises(KithkinError) as refused:
            async with profile.open_service(folder, "pass"):
                pass
        assert refused.value.code == "profile_unreadable"

    asyncio.run(story())
