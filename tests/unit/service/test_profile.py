"""Making a profile lets the rest of the program go on, and one that is called off leaves nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from threading import Event

import pytest

from identity.errors import KithkinError
from identity.keystore import create_keystore
from sync.service import profiles as profile


def test_key_wrapping_does_not_block_the_event_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wrapping waits until the loop has come round a hundred times: with it in the loop this would never end."""
    wrap, seen = create_keystore, Event()

    def slow(*args: object, **kwargs: object) -> bytes:
        assert seen.wait(60)
        return wrap(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(profile, "create_keystore", slow)

    async def story() -> None:
        making = asyncio.create_task(profile.create_profile(tmp_path / "ada", "a passphrase", name="Ada"))
        for _ in range(100):
            await asyncio.sleep(0)
        seen.set()
        made = await making
        assert made.identity.startswith("id_") and (tmp_path / "ada" / "keystore").exists()
        with pytest.raises(KithkinError, match="already"):
            await profile.create_profile(tmp_path / "ada", "a passphrase", name="Ada")

    asyncio.run(story())


def test_cancelled_profile_creation_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrap, begun, go = create_keystore, Event(), Event()

    def slow(*args: object, **kwargs: object) -> bytes:
        begun.set()
        assert go.wait(60)
        return wrap(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(profile, "create_keystore", slow)

    async def story() -> None:
        making = asyncio.create_task(profile.create_profile(tmp_path / "ada", "a passphrase", name="Ada"))
        await asyncio.to_thread(begun.wait)
        making.cancel()
        await asyncio.sleep(0)
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await making
        assert not (tmp_path / "ada").exists()

    asyncio.run(story())
