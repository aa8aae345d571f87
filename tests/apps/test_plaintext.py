"""Nothing that was said, and no key, lies readable anywhere: files, logs, temporary files, arguments, environments.

Real processes; canaries in everything that people write, and every key that the profile holds, read out of it by our
own classes.  Each is looked for as it is, and as hex, base64, base32, UTF-16 and JSON would write it.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from identity.digest import derive
from identity.kem import installed
from identity.keystore import open_keystore
from identity.labels import Label
from sync.engine.profile import Profile as Opened
from sync.search.installed import has_duckdb
from sync.store.port import Table
from sync.store.sqlite import SqliteStore
from tests.support.processes import Profile, Stage
from tests.support.readable import Recorded, openers, record
from tests.support.secrets_of import secrets_of
from tests.support.watched import Watch

T = TypeVar("T")
PASSPHRASE = "correct horse"
SAID = {
    "message": "kelp canary in a message 7f3a",
    "erased": "kelp canary to be deleted 91bc",
    "edited": "kelp canary before the edit 55d0",
    "edit": "kelp canary after the edit 20aa",
    "from a friend": "kelp canary of a friend c0de",
    "imported": "kelp canary imported e11e",
    "about": "kelp canary about me 3141",
    "name": "Kelpcanary Ada",
    "contact": "Kelpcanary Bob",
    "title": "kelp canary title b00k",
    "retitled": "kelp canary renamed f00d",
    "gone chat": "kelp canary of a chat that goes 0dd5",
    "for me": "kelp canary deleted for me alone 4d1e",
}
DELETED = ("erased", "gone chat", "for me")
BACKENDS = ("fts5", *(("duckdb",) if has_duckdb() else ()))
OWN_FILES = ("keystore", "keystore.new", "store.db", "index", "node.sock", "search.")


def spellings(secret: bytes) -> Iterator[bytes]:
    """How a secret may be written down."""
    yield secret
    yield secret.hex().encode()
    yield secret.hex().upper().encode()
    for shift in range(3):  # base64 inside something longer begins anywhere
        middle = base64.b64encode(bytes(shift) + secret)[4 if shift else 0 : -4]
        yield from (middle, middle.replace(b"+", b"-").replace(b"/", b"_"))
    yield base64.b32encode(secret).rstrip(b"=")[:-1]


def texts(text: str) -> Iterator[bytes]:
    yield from (text.encode(), text.encode("utf-16-le"), json.dumps(text).encode()[1:-1], text.casefold().encode())
    yield from spellings(text.encode())


def needles(phrase: str, keys: dict[str, bytes], *, said: dict[str, str] = SAID) -> dict[bytes, str]:
    """Every spelling of everything secret, and its name."""
    found = {one: f"said: {name}" for name, text in said.items() for one in texts(text)}
    words = phrase.split()
    for start in range(len(words) - 2):
        found[" ".join(words[start : start + 3]).encode()] = "three words of the phrase"
        found[",".join(f'"{word}"' for word in words[start : start + 3]).encode()] = "three words of the phrase"
    found |= dict.fromkeys(texts(PASSPHRASE), "the passphrase")
    found |= {one: name for name, key in keys.items() for one in spellings(key)}
    assert all(len(one) >= 8 for one in found)
    return found


def leaks(place: str, data: bytes, wanted: dict[bytes, str]) -> list[tuple[str, str]]:
    return [(place, name) for one, name in wanted.items() if one in data]


def files_below(*folders: Path) -> Iterator[tuple[str, bytes]]:
    """(path, content) of every file; a file's name is looked at like its content."""
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            yield f"the name of {path}", os.fsencode(path.name)
            if path.is_file() and not path.is_symlink():
                yield str(path), path.read_bytes()


def processes_below(pid: int) -> Iterator[int]:
    """A process and those that it started."""
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from processes_below(int(child))


def told_to_processes(pid: int) -> Iterator[tuple[str, bytes]]:
    for one in processes_below(pid):
        for what in ("cmdline", "environ"):
            yield f"{what} of process {one}", Path(f"/proc/{one}/{what}").read_bytes()


def core_limits(pid: int) -> set[str]:
    """The soft limits of core dumps of a process and those that it started."""
    found = set()
    for one in processes_below(pid):
        (line,) = (
            n for n in Path(f"/proc/{one}/limits").read_text().splitlines() if n.startswith("Max core file size")
        )
        found.add(line.split()[4])
    return found


@asynccontextmanager
async def quiet_stage(root: Path, search: str) -> AsyncIterator[tuple[Stage, Path]]:
    """A stage whose processes have a home and a temporary folder of their own."""
    async with Stage(root / "stage") as stage:
        elsewhere = root / "elsewhere"
        for name in ("home", "tmp"):
            (elsewhere / name).mkdir(parents=True)
        for name in ("ada", "bob"):
            stage.profile(name).environment.update(
                HOME=str(elsewhere / "home"), TMPDIR=str(elsewhere / "tmp"), KITHKIN_SEARCH=search
            )
        yield stage, elsewhere


async def say(one: Profile, chat: str, text: str) -> str:
    """By standard input, since the arguments of a command are for everybody on the machine to see."""
    return str((await one.ask("send", chat, "-", stdin=text.encode()))["id"])


linux = pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux tells of processes")


@linux
@pytest.mark.parametrize("search", BACKENDS)
def test_no_text_and_no_key_lies_readable_anywhere(tmp_path: Path, search: str) -> None:
    async def story() -> None:
        async with quiet_stage(tmp_path, search) as (stage, elsewhere):
            ada, bob = stage.profile("ada"), stage.profile("bob")
            lines = tmp_path / "given" / "lines.jsonl"
            lines.parent.mkdir()
            lines.write_text(json.dumps({"at": "2024-01-01T00:00:00Z", "from": "ida", "text": SAID["imported"]}) + "\n")
            ada.folder.mkdir(mode=0o700)
            with Watch(ada.folder, elsewhere / "tmp", elsewhere / "home") as watch:
                phrase = (await ada.ask("init", "--name", SAID["name"]))["phrase"]
                await bob.ask("init", "--name", SAID["contact"])
                await asyncio.gather(ada.run(), bob.run())
                watch.add(ada.folder / "index")
                chat = await stage.befriend(ada, bob)
                group = (await ada.node.chat_new(SAID["title"], [])).chat
                gone = (await ada.node.chat_new("to go", [])).chat
                await ada.node.chat_rename(group, SAID["retitled"])
                await ada.node.profile_set(about=SAID["about"])
                await say(ada, chat, SAID["message"])
                erased, edited = await say(ada, chat, SAID["erased"]), await say(ada, chat, SAID["edited"])
                await ada.node.edit(chat, edited, SAID["edit"])
                await say(ada, gone, SAID["gone chat"])
                await bob.node.send(chat, SAID["from a friend"])
                forgotten = (await bob.node.send(chat, SAID["for me"])).id
                await ada.holds(chat, 5)
                assert (await ada.ask("import", chat, str(lines)))["imported"] == 1
                assert (await ada.ask("search", "kelp"))["total"] >= 4  # its process is there now

                assert ada.process is not None
                pid = ada.process.pid
                while_it_ran = [*told_to_processes(pid), *files_below(ada.folder, elsewhere)]
                assert any("store.db-wal" in place for place, _ in while_it_ran)
                assert core_limits(pid) == {"0"}

                await ada.stop()
                kept = {name: recorded(ada.folder, SAID[name]) for name in DELETED}
                assert all(kept.values()), "what is deleted below lies sealed in the store, and somebody keeps that"
                await ada.run()
                assert ada.process is not None
                pid = ada.process.pid
                await ada.node.delete(chat, erased, everyone=True)
                await ada.node.delete(chat, forgotten)
                await ada.node.delete_chat(gone)
                await ada.ask("passphrase", "--keyring", "off")
                assert (await ada.ask("search", "deleted"))["total"] == 0
                while_it_ran += [*told_to_processes(pid), *files_below(ada.folder, elsewhere)]
                await ada.stop()
                await bob.stop()

            keys = secrets_of(ada.folder, PASSPHRASE)
            assert len(keys) > 20
            held = needles(phrase, keys)
            places = [*files_below(ada.folder, bob.folder, elsewhere), ("what the node wrote to its log", ada.noise)]
            assert len(places) > 10
            assert [hit for place in places for hit in leaks(*place, held)] == []
            assert [hit for place in while_it_ran for hit in leaks(*place, held)] == []
            assert watch.others(OWN_FILES) == set(), "files that came and went"

            # The same search finds all of it where it is: behind the database key.
            opened = rows(ada.folder)
            for name in ("message", "edit", "from a friend", "imported", "retitled", "about"):
                assert leaks("the store", opened, {SAID[name].encode(): name}), name
            for name in DELETED:
                assert leaks("the store", opened, dict.fromkeys(texts(SAID[name]), name)) == []
                assert recorded(ada.folder, SAID[name]) == []
                # No message key is left.  Of the chat's newest epoch the key is: `docs/threat-model.md` says so.
                assert [opened_by(ada.folder, one) for one in kept[name]] == [{"epoch", "grant"}]
            assert {"D", "S"} <= {name for _, name in leaks("the store", opened, {v: k for k, v in keys.items()})}

    asyncio.run(story())


def recorded(folder: Path, text: str) -> list[Recorded]:
    """Sealed blocks of a profile on disk that hold a text."""
    return with_profile(folder, lambda profile: record(profile, text))


def opened_by(folder: Path, kept: Recorded) -> set[str]:
    """Which secrets of a profile on disk open a block that was kept from before."""
    return with_profile(folder, lambda profile: openers(profile, kept))


def with_profile(folder: Path, look: Callable[[Opened], T]) -> T:
    key = open_keystore((folder / "keystore").read_bytes(), passphrase=PASSPHRASE, keyring_secret=None)
    store = SqliteStore(folder / "store.db", derive(key, Label.DATABASE))
    try:
        return look(Opened(store, os.urandom, installed()))
    finally:
        store.close()


def rows(folder: Path) -> bytes:
    """Every value of the store of a profile, unsealed."""
    key = open_keystore((folder / "keystore").read_bytes(), passphrase=PASSPHRASE, keyring_secret=None)
    store = SqliteStore(folder / "store.db", derive(key, Label.DATABASE))
    try:
        return b"\n".join(k + v for table in Table for k, v in store.scan(table))
    finally:
        store.close()


def test_the_search_finds_what_was_planted(tmp_path: Path) -> None:
    key = os.urandom(32)
    wanted = needles("one two three four", {"D": key})
    planted = {
        "raw": key,
        "hex": b"x" + key.hex().encode() + b"x",
        "base64": base64.b64encode(b"before" + key + b"after"),
        "json": json.dumps({"key": base64.b64encode(key).decode()}).encode(),
        "text": f"… {SAID['message']} …".encode("utf-16-le"),
        "words": b"the words are one two three",
    }
    for name, data in planted.items():
        (tmp_path / name).write_bytes(data)
        assert leaks(name, data, wanted), name
    assert {Path(place).name for found in files_below(tmp_path) for place, _ in leaks(*found, wanted)} == set(planted)
    assert not leaks("noise", os.urandom(100_000), wanted)
