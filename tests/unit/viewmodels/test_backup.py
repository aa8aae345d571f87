"""Backing up and restoring from the windows, without windows."""

from __future__ import annotations

import asyncio
from pathlib import Path

from apps.viewmodels.app import Stage
from apps.viewmodels.backup import chosen
from apps.viewmodels.pages import PageKind
from tests.unit.viewmodels.stage import SECRET, home, person, started

OWN = "another secret"


def test_a_person_backs_up_and_starts_again_from_the_file(tmp_path: Path) -> None:
    async def story() -> None:
        file = str(tmp_path)  # a folder stands for a file of the usual name in it
        async with person(tmp_path / "ada", "Ada") as session:
            await session.service.send("self", "a note")
            await session.show(PageKind.BACKUP)
            await session.backup.create("", OWN, OWN)
            assert session.backup.state.problem == "Name the file of the backup."
            await session.backup.create(file, "short", "short")
            assert session.backup.state.problem == "Choose a passphrase of at least 8 characters for the backup."
            await session.backup.create(file, OWN, OWN + "x")
            assert session.backup.state.problem == "The passphrases do not match."
            await session.backup.create(file, OWN, OWN)
            assert session.backup.state.problem == ""
            assert session.backup.state.done == "1 message in a backup of 1 MB: kithkin-backup"
            await session.service.send("self", "another note")
            await session.backup.create(file, "wrong passphrase", "")
            assert session.backup.state.problem == "That is not the passphrase of this backup."
            await session.backup.create(file, OWN, "")
            assert session.backup.state.done.startswith("2 messages")

        async with started(tmp_path / "new", given=None) as app:
            app.choose(Stage.RESTORE)
            restore = app.restore
            await restore.restore(file, OWN, "short", "short")
            assert restore.state.problem == "Choose a passphrase of at least 8 characters."
            await restore.restore(str(tmp_path / "nowhere"), OWN, SECRET, SECRET)
            assert restore.state.problem.startswith("That backup cannot be read")
            await restore.restore(file, "wrong passphrase", SECRET, SECRET)
            assert restore.state.problem == "That is not the passphrase of this backup."
            assert app.state.stage is Stage.RESTORE
            await restore.restore(file, OWN, SECRET, SECRET)
            session = home(app)
            texts = [message.text for message in (await session.service.read("self")).messages]
            assert texts == ["a note", "another note"]

    asyncio.run(story())


def test_a_damaged_backup_is_restored_as_far_as_it_goes_when_asked_twice(tmp_path: Path) -> None:
    async def story() -> None:
        file = tmp_path / "file"
        async with person(tmp_path / "ada", "Ada") as session:
            await session.service.send("self", "a note")
            await session.backup.create(str(file), OWN, OWN)
            await session.service.send("self", "another note")
            await session.backup.create(str(file), OWN, "")
        file.write_bytes(file.read_bytes()[:-10])
        async with started(tmp_path / "new") as app:
            app.choose(Stage.RESTORE)
            await app.restore.restore(str(file), OWN, "", "")
            assert app.restore.state.damaged and "before it is whole" in app.restore.state.problem
            await app.restore.restore(str(file), OWN, "", "")
            texts = [message.text for message in (await home(app).service.read("self")).messages]
            assert texts == ["a note"]

    asyncio.run(story())


def test_a_named_folder_stands_for_the_usual_file_in_it(tmp_path: Path) -> None:
    assert chosen(f" file://{tmp_path} ") == tmp_path / "kithkin-backup"
    assert chosen(str(tmp_path / "mine")) == tmp_path / "mine"
