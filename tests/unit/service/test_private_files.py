"""Files with a person's words: for their owner alone, whole or not there, through no link that somebody planted."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from identity.errors import KithkinError
from identity.private_file import create, open_existing, private_file
from sync.service import profiles

SECRET = "correct horse"


def planted(size: int) -> bytes:
    return bytes(size)


def test_a_private_file_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "letter"
    with private_file(path, os.urandom, replace=False) as file:
        file.write(b"Dear Bob")
        assert not path.exists()
        assert [child.stat().st_mode & 0o777 for child in tmp_path.iterdir()] == [0o600]
    assert path.read_bytes() == b"Dear Bob" and path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(RuntimeError), private_file(tmp_path / "other", os.urandom, replace=False) as file:
        file.write(b"half")
        raise RuntimeError
    assert [child.name for child in tmp_path.iterdir()] == ["letter"]


def test_nothing_that_is_there_makes_room_unasked(tmp_path: Path) -> None:
    path = tmp_path / "letter"
    path.write_bytes(b"old")
    with pytest.raises(FileExistsError), private_file(path, os.urandom, replace=False) as file:
        file.write(b"new")
    assert path.read_bytes() == b"old"
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError), private_file(tmp_path / "dangling", os.urandom, replace=False) as file:
        file.write(b"new")
    assert not (tmp_path / "nowhere").exists()
    with private_file(path, os.urandom, replace=True) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"
    assert sorted(child.name for child in tmp_path.iterdir()) == ["dangling", "letter"]


def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    """Even where somebody guessed the random name: what stands there is never written through."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / f".kithkin-{planted(8).hex()}").symlink_to(victim)
    with pytest.raises(FileExistsError), private_file(tmp_path / "letter", planted, replace=False) as file:
        file.write(b"new")
    with pytest.raises(OSError):
        create(tmp_path / f".kithkin-{planted(8).hex()}")
    with pytest.raises(OSError):
        open_existing(tmp_path / f".kithkin-{planted(8).hex()}", write=True)
    assert victim.read_bytes() == b"precious"


def test_exports_are_for_their_owner_alone(tmp_path: Path) -> None:
    async def story() -> None:
        await profiles.create_profile(tmp_path / "a", SECRET, name="Ada")
        victim = tmp_path / "victim"
        victim.write_bytes(b"precious")
        for name in ("out.part", "out.tmp", ".out.part", "out.new"):
            (tmp_path / name).symlink_to(victim)
        async with profiles.open_service(tmp_path / "a", SECRET) as service:
            await service.send("self", "a secret")
            await service.export("self", tmp_path / "out")
            await service.export("self", tmp_path / "pages", format="yjs")
            (tmp_path / "link").symlink_to(victim)
            with pytest.raises(KithkinError) as refused:
                await service.export("self", tmp_path / "link")
            assert refused.value.code == "file_exists"
            (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
            with pytest.raises(KithkinError) as dangling:
                await service.export("self", tmp_path / "dangling")
            assert dangling.value.code == "file_exists"
        assert victim.read_bytes() == b"precious" and not (tmp_path / "nowhere").exists()
        assert (tmp_path / "out").stat().st_mode & 0o777 == 0o600
        assert (tmp_path / "pages").stat().st_mode & 0o777 == 0o700
        assert {page.stat().st_mode & 0o777 for page in (tmp_path / "pages").iterdir()} == {0o600}

    asyncio.run(story())
