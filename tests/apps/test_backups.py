"""Backups as real processes: a folder is lost and comes back as a new device, whatever is killed on the way.

`docs/evidence/backup-kills.md` is the table of what was there after each kill.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from tests.support.processes import CHECKOUT, Profile, Said, Stage, Trio

Three = Callable[[], AbstractAsyncContextManager[Trio]]


def test_a_lost_folder_comes_back_from_a_backup(three: Three, tmp_path: Path) -> None:
    async def story() -> None:
        backup = str(tmp_path / "backup")
        async with three() as trio:
            stage, phone, desktop, friend = trio.stage, trio.phone, trio.desktop, trio.friend
            await asyncio.gather(phone.run(), desktop.run(), friend.run())
            earlier = await phone.texts(trio.direct)
            await phone.node.send(trio.direct, "before the backup")
            await phone.delivered()
            first = await phone.ask("backup", "create", backup)
            await phone.node.send(trio.direct, "in the second backup")
            await phone.delivered()
            second = await phone.ask("backup", "create", backup)
            assert first["messages"] < second["messages"] and second["written"] < second["bytes"]
            await phone.node.send(trio.direct, "after both backups")
            await phone.delivered()
            old = phone.ready["device"]
            await phone.kill()
            shutil.rmtree(phone.folder)

            new = stage.profile("restored")
            said = await new.ask("backup", "restore", backup)
            assert said["ok"] is True and said["lost"] == "" and said["device"] != old
            assert await _texts_offline(new, trio.direct) == [
                *earlier,
                "before the backup",
                "in the second backup",
            ]
            await new.run()
            await new.node.send(trio.direct, "I am back")
            await desktop.node.send(trio.direct, "from the desktop")
            await friend.node.send(trio.direct, "welcome back")
            told = [
                *earlier,
                "before the backup",
                "in the second backup",
                "after both backups",
                "I am back",
                "from the desktop",
                "welcome back",
            ]
            for profile in (new, desktop, friend):
                await _all_there(profile, trio.direct, told)
            await new.delivered()
            await friend.delivered()
            listed = await desktop.until(
                desktop.node.devices,
                lambda found: {d.id: d.state for d in found.devices}.get(old, "revoked") == "revoked",
                "the lost phone out",
            )
            assert {d.id: d.state for d in listed.devices}[said["device"]] == "active"
            hits = await new.ask("search", "backup")
            assert hits["total"] == 2

    asyncio.run(story())


def test_a_copied_folder_goes_on_as_a_new_device_and_a_renamed_one_does_not(tmp_path: Path) -> None:
    async def story() -> None:
        async with Stage(tmp_path / "stage") as stage:
            ada = await stage.init("ada")
            await ada.ask("send", "self", "one")
            device = (await ada.ask("status"))["device"]

            there = stage.profile("there")
            ada.folder.rename(there.folder)
            moved = {"KITHKIN_MOVED": ""}
            assert (await there.cli("status", environment=moved)).last["device"] == device

            copy = stage.profile("copy")
            shutil.copytree(there.folder, copy.folder)
            found = (await copy.cli("status", environment=moved)).last["device"]
            assert (found == device) is not _places_last(tmp_path)
            assert (await copy.cli("status", environment=moved)).last["device"] == found, "it is one new device"
            assert (await there.cli("status", environment=moved)).last["device"] == device
            for profile, text in ((there, "from here"), (copy, "from the copy")):
                said = await profile.cli("send", "self", text, environment=moved)
                assert said.status == 0, said.lines

            same = stage.profile("same")
            shutil.copytree(there.folder, same.folder)
            assert (await same.ask("status"))["device"] == device, "whoever says that it was moved is believed"

    asyncio.run(story())


async def _all_there(profile: Profile, chat: str, told: list[str]) -> None:
    await profile.until(lambda: profile.texts(chat), lambda texts: sorted(texts) == sorted(told), "every message")


def _places_last(folder: Path) -> bool:
    from sync.service.place import place_of

    return place_of(folder) != b""


async def _texts_offline(profile: Profile, chat: str) -> list[str]:
    said = await profile.ask("read", chat)
    return [message["text"] for message in said["messages"]]


async def _dying(profile: Profile, where: str, *words: str) -> int:
    """Runs a command that is killed there; its status."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.apps.dying",
        where,
        "--json",
        *words,
        env=profile.environment,
        cwd=CHECKOUT,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    return await process.wait()


FILE, TARGET, PROFILES = "sync.backup.file:BackupWriter", "sync.backup.target", "sync.service.profiles"
NEW = {  # step -> (where it is killed, what stands at the file's name afterwards)
    "nothing written": (f"{FILE}.begin<1", None),
    "some rows written": (f"{FILE}.add>4", None),
    "rows written, no contents": (f"{FILE}.finish<1", None),
    "finished, without its name": (f"{TARGET}:put<1", None),
    "named": (f"{TARGET}:put>1", "new"),
}
ADDED = {
    "nothing added": (f"{FILE}.go_on<1", "old"),
    "some rows added": (f"{FILE}.add>4", "old"),
    "rows added, no contents": (f"{FILE}.finish<1", "old"),
    "contents, no end": ("sync.backup.file:encode_end<1", "old"),
    "end": (f"{FILE}.finish>1", "new"),
}
RESTORED = {  # step -> (where, whether a profile is there afterwards)
    "checked": (f"{PROFILES}:_draft>1", False),
    "rows written": ("sync.store.sqlite:SqliteStore.write>1", False),
    "all rows written": (f"{PROFILES}:become_new_device<1", False),
    "a new device": (f"{PROFILES}:become_new_device>1", False),
    "before the keystore": (f"{PROFILES}:replace_keystore<1", False),
    "keystore": (f"{PROFILES}:replace_keystore>1", True),
}


def test_a_backup_killed_at_any_step_leaves_what_was_finished(tmp_path: Path) -> None:
    async def story() -> None:
        async with Stage(tmp_path / "stage") as stage:
            ada = await stage.init("ada")
            await ada.ask("send", "self", "one")
            file = tmp_path / "backup"
            for step, (where, left) in NEW.items():
                assert await _dying(ada, where, "backup", "create", str(file)) == -signal.SIGKILL, step
                assert file.exists() is (left is not None), step
                if left is not None:
                    assert (await ada.ask("backup", "verify", str(file)))["messages"] == 1, step
            for number, (step, (where, left)) in enumerate(ADDED.items(), 2):
                await ada.ask("send", "self", f"message {number}")
                before = file.stat().st_size
                assert await _dying(ada, where, "backup", "create", str(file)) == -signal.SIGKILL, step
                checked: Said = await ada.cli("backup", "verify", str(file))
                if left == "new":
                    assert checked.last["messages"] == number, step
                elif file.stat().st_size == before:
                    assert checked.last["messages"] == number - 1, step
                else:
                    assert checked.code == "backup_damaged" and "before it is whole" in checked.last["error"]["message"]
                again = await ada.ask("backup", "create", str(file))
                assert again["messages"] == number, step
                assert (await ada.ask("backup", "verify", str(file)))["messages"] == number, step
            drafts = [child for child in tmp_path.iterdir() if child.name.startswith(".kithkin-")]
            assert all(child.stat().st_mode & 0o777 == 0o600 for child in drafts)

    asyncio.run(story())


@pytest.mark.parametrize("step", RESTORED)
def test_a_restore_killed_at_any_step_leaves_nothing_or_all(step: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with Stage(tmp_path / "stage") as stage:
            ada = await stage.init("ada")
            for number in range(3):
                await ada.ask("send", "self", f"message {number}")
            file, new = str(tmp_path / "backup"), stage.profile("new")
            await ada.ask("backup", "create", file)
            where, whole = RESTORED[step]
            assert await _dying(new, where, "backup", "restore", file) == -signal.SIGKILL
            status = await new.cli("status")
            assert (status.status == 0) is whole
            if not whole:
                assert status.code == "profile_not_found"
                await new.ask("backup", "restore", file)
            assert await _texts_offline(new, "self") == ["message 0", "message 1", "message 2"]
            assert not [child for child in new.folder.iterdir() if "salvage" in child.name]
            await new.ask("send", "self", "and on")

    asyncio.run(story())
