"""A profile that is erased leaves nothing on the machine, wherever it is interrupted; what is not its own stays."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import pytest

from identity.errors import KithkinError
from identity.keystore import open_keystore
from sync.service import profiles, removal

SECRET = "correct horse"
STEPS = 6  # two keystores, each overwritten and removed; the store; the index


def made(folder: Path) -> Path:
    asyncio.run(profiles.create_profile(folder, SECRET, name="Ada"))
    return folder


def code(folder: Path) -> str:
    with pytest.raises(KithkinError) as refused:
        asyncio.run(profiles.erase_profile(folder))
    return refused.value.code


def test_a_profile_that_is_erased_leaves_nothing(tmp_path: Path) -> None:
    folder = made(tmp_path / "ada")
    (folder / "window.json").write_text("{}")
    assert asyncio.run(profiles.erase_profile(folder)).left == 0
    assert list(tmp_path.iterdir()) == []
    assert code(folder) == "profile_not_found"


def test_what_is_not_of_the_profile_stays(tmp_path: Path) -> None:
    folder, elsewhere = made(tmp_path / "ada"), tmp_path / "elsewhere"
    elsewhere.write_text("somebody else's")
    (folder / "letter.txt").write_text("mine")
    (folder / "store.db-link").symlink_to(elsewhere)
    assert asyncio.run(profiles.erase_profile(folder)).left == 1
    assert [path.name for path in folder.iterdir()] == ["letter.txt"]
    assert elsewhere.read_text() == "somebody else's"


def test_a_profile_that_is_open_is_not_erased(tmp_path: Path) -> None:
    folder = made(tmp_path / "ada")

    async def story() -> None:
        async with profiles.open_service(folder, SECRET):
            with pytest.raises(KithkinError, match="open"):
                await profiles.erase_profile(folder)
        async with profiles.open_service(folder, SECRET):
            pass

    asyncio.run(story())


@pytest.mark.parametrize("step", range(STEPS + 1))
def test_an_end_in_between_leaves_no_key_and_the_next_call_finishes(
    tmp_path: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = made(tmp_path / "ada")
    (folder / "index").mkdir()
    (folder / "keystore.new").write_bytes((folder / "keystore").read_bytes())
    left = iter(range(step, -1, -1))
    ends = {name: getattr(removal, name) for name in ("_overwrite", "_remove")}

    def at(name: str, path: Path) -> None:
        if next(left, None) == 0:
            raise InterruptedError("the lights went out")
        ends[name](path)

    for name in ends:
        monkeypatch.setattr(removal, name, partial(at, name))
    if step < STEPS:
        with pytest.raises((InterruptedError, KithkinError)):
            asyncio.run(profiles.erase_profile(folder))
        kept = [path for path in (folder / "keystore", folder / "keystore.new") if opens(path)]
        assert len(kept) == (2 if step < 2 else 1 if step < 4 else 0) - (step in (1, 3))
    monkeypatch.undo()
    asyncio.run(profiles.erase_profile(folder))
    assert not folder.exists()
    asyncio.run(profiles.create_profile(folder, SECRET, name="Ada again"))


def opens(path: Path) -> bool:
    try:
        open_keystore(path.read_bytes(), passphrase=SECRET, keyring_secret=None)
    except (KithkinError, FileNotFoundError):
        return False
    return True
