"""Bad input, each with its stable code and exit status; nothing is a traceback, nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from identity.digest import derive
from identity.keystore import open_keystore
from identity.labels import Label
from sync.service import profiles as profiles
from sync.service.api import KithkinError, Network
from sync.store.sqlite import SqliteStore
from tests.support.processes import HOST, Profile, Said, Stage, Trio

Three = Callable[[], AbstractAsyncContextManager[Trio]]
ESCAPES = "\x1b[2J\x1b]0;title\x07 \u202eback\u202c"


def is_refused(said: Said, *codes: str, status: int = 1) -> None:
    assert (said.status, said.code) == (status, said.code) and said.code in codes, (said.lines, said.err)
    assert len(said.lines) == 1 and b"Traceback" not in said.err and len(said.last["error"]["message"]) > 10


async def code_of(call: object) -> str:
    try:
        await call  # type: ignore[misc]
    except KithkinError as error:
        return error.code
    return "done"


async def holding(process: asyncio.subprocess.Process, name: str) -> None:
    """Waits until the process has that file open, or has ended."""
    fds = Path(f"/proc/{process.pid}/fd")
    async with asyncio.timeout(60):
        while process.returncode is None:
            with contextlib.suppress(OSError):
                if any(name in str(fd.readlink()) for fd in fds.iterdir()):
                    return
            await asyncio.sleep(0.01)


# ---- the command line and where the profile is


def test_unknown_commands_and_flags_are_usage_errors(tmp_path: Path) -> None:
    async def story() -> None:
        async with Stage(tmp_path / "stage") as stage:
            ada = stage.profile("ada")
            for words in ((), ("frobnicate",), ("status", "--frobnicate"), ("chat",), ("send", "chat_0")):
                is_refused(await ada.cli(*words), "usage", status=2)
            assert not ada.folder.exists()

    asyncio.run(story())


def test_profile_paths_that_hold_no_profile_are_refused_and_unchanged(tmp_path: Path) -> None:
    async def story() -> None:
        async with Stage(tmp_path / "stage") as stage:
            ada = stage.profile("ada")
            file, loop, foreign, broken = (tmp_path / name for name in ("file", "loop", "foreign", "broken"))
            file.write_text("precious")
            loop.symlink_to(loop)
            for folder in (foreign, broken):
                folder.mkdir()
            (foreign / "thesis.txt").write_text("precious")
            (broken / "keystore").write_bytes(random.Random(1).randbytes(113))
            for path, read, made in (
                (file, "profile_unreadable", "profile_unreadable"),
                (file / "below", "profile_unreadable", "profile_unreadable"),
                (loop, "profile_unreadable", "profile_unreadable"),
                (foreign, "profile_not_found", "profile_unreadable"),
                (broken, "keystore_corrupt", "profile_exists"),
                (tmp_path / "absent", "profile_not_found", ""),
            ):
                is_refused(await ada.cli("--profile", str(path), "status"), read)
                is_refused(await ada.cli("--profile", str(path), "run"), read)
                if made:
                    is_refused(await ada.cli("--profile", str(path), "init", "--name", "Ada"), made)
                    is_refused(await ada.cli("--profile", str(path), "link"), made)
            assert file.read_text() == (foreign / "thesis.txt").read_text() == "precious"
            assert [child.name for child in foreign.iterdir()] == ["thesis.txt"]
            assert not (tmp_path / "absent").exists()

    asyncio.run(story())


def test_profile_in_use_and_existing_profile_are_refused(three: Three) -> None:
    async def story() -> None:
        async with three() as trio:
            phone = trio.phone
            is_refused(await phone.cli("init", "--name", "Eve"), "profile_exists")
            is_refused(await phone.cli("link"), "profile_exists")
            await phone.run()
            before = await phone.texts(trio.direct)
            is_refused(await phone.cli("init", "--name", "Eve"), "profile_in_use")
            is_refused(await phone.cli("link"), "profile_in_use")
            is_refused(await phone.cli("run"), "profile_in_use")
            # Even where the socket is gone the store's lock holds.
            (phone.folder / "node.sock").unlink()
            is_refused(await phone.cli("status"), "profile_in_use")
            assert await phone.texts(trio.direct) == before

    asyncio.run(story())


def test_simultaneous_commands_without_a_node_succeed_or_are_refused(three: Three) -> None:
    """One process at a time owns it: the others are told so, and what was acknowledged is there."""

    async def story() -> None:
        async with three() as trio:
            phone = trio.phone
            said = await asyncio.gather(*(phone.cli("send", trio.direct, f"at once {n}") for n in range(5)))
            assert {one.code for one in said} <= {None, "profile_in_use"}
            done = {one.last["id"] for one in said if one.status == 0}
            assert done
            held = (await phone.ask("read", trio.direct))["messages"]
            assert {m["id"] for m in held if m["text"].startswith("at once")} == done

    asyncio.run(story())


# ---- keys


def test_wrong_passphrases_and_damaged_keystores_are_refused(three: Three, tmp_path: Path) -> None:
    async def story() -> None:
        async with three() as trio:
            phone = trio.phone
            wrong = tmp_path / "wrong"
            wrong.write_text("guess\n")
            is_refused(
                await phone.cli("status", environment={"KITHKIN_PASSPHRASE_FILE": str(wrong)}), "wrong_passphrase"
            )
            nothing = {"KITHKIN_PASSPHRASE_FILE": ""}
            is_refused(await phone.cli("status", environment=nothing), "no_passphrase")
            is_refused(await phone.cli("run", environment=nothing), "no_passphrase")
            fresh = trio.stage.profile("fresh")
            is_refused(await fresh.cli("init", "--name", "Ada", environment=nothing), "no_passphrase")
            is_refused(await fresh.cli("link", environment=nothing), "no_passphrase")
            assert not fresh.folder.exists() or not list(fresh.folder.iterdir())

            # Every byte of the keystore flipped somewhere, and every truncation.
            keystore = phone.folder / "keystore"
            good = keystore.read_bytes()
            rng = random.Random(7)
            broken = [
                good[:at] + bytes((good[at] ^ 1 << rng.randrange(8),)) + good[at + 1 :] for at in range(len(good))
            ]
            broken += [good[:length] for length in range(len(good))]
            broken += [good + b"\0", good * 100, b"\0" * len(good)]
            for data in broken:
                keystore.write_bytes(data)
                with pytest.raises(KithkinError) as caught:
                    async with profiles.open_service(phone.folder, "correct horse"):
                        pass
                assert caught.value.code == "keystore_corrupt", data.hex()
            is_refused(await phone.cli("status"), "keystore_corrupt")
            keystore.write_bytes(good)
            assert len((await phone.ask("read", trio.direct))["messages"]) == 3

    asyncio.run(story())


def test_newer_and_damaged_stores_are_refused_and_unchanged(three: Three) -> None:
    async def story() -> None:
        async with three() as trio:
            phone, friend = trio.phone, trio.friend
            key = open_keystore(
                (phone.folder / "keystore").read_bytes(), passphrase="correct horse", keyring_secret=None
            )
            store = SqliteStore(phone.folder / "store.db", derive(key, Label.DATABASE))
            assert store._database is not None
            store._database.execute("PRAGMA user_version = 99")
            store.close()
            before = (phone.folder / "store.db").read_bytes()
            is_refused(await phone.cli("status"), "profile_newer")
            is_refused(await phone.cli("run"), "profile_newer")
            assert (phone.folder / "store.db").read_bytes() == before
            # Another profile's store, a cut one, noise: never a traceback, never a new empty one.
            whole = (friend.folder / "store.db").read_bytes()
            for data in (before, whole[: len(whole) // 2 + 17], b"\0" * 4096, b"SQLite format 3\0" + whole[16:8192]):
                (friend.folder / "store.db").write_bytes(data)
                is_refused(await friend.cli("status"), "profile_unreadable")
                assert (friend.folder / "store.db").read_bytes() == data
            (friend.folder / "store.db").write_bytes(whole)
            assert len((await friend.ask("read", trio.direct))["messages"]) == 3

    asyncio.run(story())


# ---- texts that people pass on


def test_wrong_used_and_expired_invites_and_pairing_codes_are_refused(three: Three) -> None:
    async def story() -> None:
        async with three() as trio:
            phone, desktop, friend = trio.all
            for one in trio.all:
                await one.run()
            invite = (await phone.node.contact_invite()).invite
            flipped = invite[:-3] + ("A" if invite[-3] != "A" else "B") + invite[-2:]

            async def accept(one: Profile, text: str) -> str:
                return await code_of(one.node.contact_accept(text, wait=20))

            async def approve(text: str) -> str:
                try:
                    async with phone.node.device_approve(text, wait=5) as approval:
                        await approval.confirm()
                        await approval.done()
                except KithkinError as error:
                    return error.code
                return "done"

            assert await accept(phone, invite) == "own_code"
            assert await accept(desktop, invite) == "own_code"
            for text in (invite[:-1], invite[:40], flipped, invite + "A", invite.replace("/", "//")):
                assert await accept(friend, text) in ("payload_damaged", "not_an_invite"), text
            for text in (
                "",
                "hello",
                "https://example.org/x",
                "kithkin:",
                "kithkin:relay/AAAA",
                "\0",
                "x" * 500_000,
                "é",
            ):
                assert await accept(friend, text) == "not_an_invite", text[:30]
                assert await approve(text) == "not_a_pair_code", text[:30]

            # Each says what the other is, and nothing happens.
            async with profiles.link_profile(
                trio.stage.root / "new", "x", network=Network(host=HOST), wait=30
            ) as linking:
                pair = linking.payload
                said = await friend.cli("contact", "accept", pair)
                is_refused(said, "not_an_invite")
                assert "device" in said.last["error"]["message"]
                said = await phone.cli("device", "approve", invite, "--yes")
                is_refused(said, "not_a_pair_code")
                assert "invite" in said.last["error"]["message"]
                for text in (
                    pair[:-1],
                    pair[:30],
                    pair + "B",
                    pair[:-2] + ("A" if pair[-2] != "A" else "B") + pair[-1],
                ):
                    assert await approve(text) in ("payload_damaged", "not_a_pair_code")
            # Nobody is waiting there any more.
            assert await approve(pair) == "timeout"
            assert not (trio.stage.root / "new").exists()
            assert len((await phone.node.devices()).devices) == 2

            # Used: one person only, though that one may use it again.
            eve, mallory = await trio.stage.init("eve"), await trio.stage.init("mallory")
            await asyncio.gather(eve.run(), mallory.run())
            assert await accept(eve, invite) == "done"
            assert await accept(mallory, invite) == "already_used"
            assert await accept(eve, invite) == "done"
            assert (await mallory.node.contacts()).contacts == []
            assert len((await eve.node.contacts()).contacts) == 1
            # An invite in lower or upper case, or with white space around it, is the same.
            second = (await phone.node.contact_invite()).invite
            assert await accept(mallory, f"  {second.upper()}\n") == "done"
            # Expired.
            short = await phone.node.contact_invite(expires=1)
            while time.time() <= short.expires.timestamp() + 1:
                await asyncio.sleep(0.1)
            assert await accept(friend, short.invite) == "expired"
            # The inviter is off.
            lonely = (await phone.node.contact_invite()).invite
            await phone.stop()
            await desktop.stop()
            is_refused(await eve.cli("contact", "accept", lonely, "--wait", "1"), "timeout", "own_code")

    asyncio.run(story())


def test_three_wrong_codes_end_the_pairing_on_both_sides(tmp_path: Path) -> None:
    async def story() -> None:
        async with Stage(tmp_path / "stage") as stage:
            phone = await (await stage.init("phone")).run()
            new = stage.profile("new")
            async with contextlib.AsyncExitStack() as stack:
                link = await stack.enter_async_context(new.dialogue("link", "--host", HOST))
                payload = (await link.line())["payload"]
                approve = await stack.enter_async_context(phone.dialogue("device", "approve", payload, "--yes"))
                right = int((await approve.line())["code"])
                for left in (2, 1):
                    link.type(f"{(right + left) % 1_000_000:06}")
                    assert await link.line() == {"wrong": True, "left": left}
                link.type(f"{(right + 9) % 1_000_000:06}")
                for side in (link, approve):
                    assert (await side.line())["error"]["code"] == "wrong_code"
                    assert await side.end() == 1
            assert not new.folder.exists() or not list(new.folder.iterdir())
            assert len((await phone.node.devices()).devices) == 1
            # The same folder links at the next try.
            await stage.link("new", phone)

    asyncio.run(story())


def test_seventh_device_is_refused(tmp_path: Path) -> None:
    async def story() -> None:
        async with Stage(tmp_path / "stage") as stage:
            phone = await (await stage.init("phone")).run()

            async def link(number: int) -> None:
                folder, network = tmp_path / f"device{number}", Network(host=HOST)
                async with (
                    profiles.link_profile(folder, "x", network=network) as linking,
                    phone.node.device_approve(linking.payload) as approval,
                ):
                    digits = await approval.confirm()
                    assert await linking.submit(digits.code) is None
                    await asyncio.gather(linking.done(), approval.done())

            for number in range(2, 7):
                await link(number)
            assert len((await phone.node.devices()).devices) == 6
            with pytest.raises(KithkinError) as caught:
                await link(7)
            assert caught.value.code == "too_many_devices"
            assert not (tmp_path / "device7").exists()
            assert len((await phone.node.devices()).devices) == 6

    asyncio.run(story())


# ---- texts that people write


def test_texts_of_any_characters_arrive_and_bad_ones_are_refused(three: Three) -> None:
    async def story() -> None:
        async with three() as trio:
            phone, friend = trio.phone, trio.friend
            await phone.run()
            await friend.run()
            chat, node = trio.direct, phone.node
            for text, code in (
                ("", "empty_text"),
                (" \n\t\u3000", "empty_text"),
                ("a" * 65_537, "text_too_long"),
                ("é" * 32_769, "text_too_long"),
                ("a" * 900_000, "text_too_long"),
                ("a" * 3_000_000, "text_too_long"),
                ("nul \0", "text_invalid"),
                ("half \ud800", "text_invalid"),
                ("\x01" * 65_536, "text_too_long"),  # six times as long where they are escaped
            ):
                assert await code_of(node.send(chat, text)) == code, text[:20]
                assert await code_of(node.edit(chat, (await phone.messages(chat))[0].id, text)) == code
            for name in ("", " ", "a" * 129, "two\nlines", "\x1b[31m", "\0"):
                assert await code_of(node.chat_new(name)) in ("empty_text", "text_too_long", "text_invalid"), name
                assert await code_of(node.profile_set(name=name)) in ("empty_text", "text_too_long", "text_invalid")
            is_refused(await phone.cli("send", chat, "-", stdin=b"\xff\xfe"), "text_invalid")
            is_refused(await phone.cli("send", chat, "-", stdin=b"a" * 65_537), "text_too_long")
            is_refused(await phone.cli("send", "chat_nowhere", "x"), "not_found")
            assert len(await phone.messages(chat)) == 3

            # What is allowed arrives as it was written: the longest, the strangest, 30,000 control characters.
            controls = "".join(chr(1 + number % 31) for number in range(30_000)) + "x"
            strange = ["a" * 65_536, "漢" * 21_845, controls, ESCAPES, '"\\' * 32_768, "\x7f" * 65_536]
            for text in strange:
                await node.send(chat, text)
            seen = await friend.holds(chat, 3 + len(strange))
            assert [m.text for m in seen[3:]] == strange
            out = trio.stage.root / "out.jsonl"
            assert (await friend.node.export(chat, out)).exported == 3 + len(strange)
            own = next(c.id for c in (await friend.node.chats()).chats if c.kind == "self")
            assert (await friend.node.import_messages(own, out)).imported == 3 + len(strange)
            assert [m.text for m in await friend.messages(own)][-len(strange) :] == strange
            assert (await friend.node.chats()).chats

            # For people they are drawn, not obeyed.
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "apps.cli", "read", chat),
                env=friend.environment,
                cwd=Path(__file__).resolve().parents[2],
                stdout=asyncio.subprocess.PIPE,
            )
            drawn, _ = await process.communicate()
            assert process.returncode == 0 and b"\x1b" not in drawn and b"\x07" not in drawn and b"\\x1b" in drawn
            assert "\u202e".encode() not in drawn

    asyncio.run(story())


@pytest.mark.parametrize("kind", ["node", "alone"])
def test_hostile_searches_are_refused_or_answered(three: Three, kind: str) -> None:
    async def story() -> None:
        async with three() as trio:
            phone = trio.phone
            if kind == "node":
                await phone.run()
            for query in ('"', '""', "%", "' ' '", "* - ( ) :", "\u200b", "😀", "x" * 5_000):
                is_refused(await phone.cli("search", "--", query), "bad_query")
            is_refused(await phone.cli("search", "-", stdin=b"word " * 200_000), "bad_query")
            is_refused(await phone.cli("search", "-", stdin=b"'" * 1_000_000), "bad_query")
            for query in ("NEAR(first second)", "' OR 1=1 --", "first AND NOT", "fir%", "a_b", "first'; DROP TABLE x"):
                said = await phone.ask("search", "--", query)
                assert said["total"] == 0, query
            assert (await phone.ask("search", "--", 'first"'))["total"] == 6
            is_refused(await phone.cli("search", "first", "--chat", "chat_no"), "not_found")

    asyncio.run(story())


# ---- the disk


def test_full_disk_while_sending_loses_nothing(three: Three) -> None:
    """A limit on file size stands for a full disk: the same refusals from the same calls."""

    async def story() -> None:
        async with three() as trio:
            phone, friend, chat = trio.phone, trio.friend, trio.direct
            await phone.run()
            assert phone.process is not None
            pid = phone.process.pid
            acknowledged = [(await phone.node.send(chat, f"before {n}")).id for n in range(3)]
            log = phone.folder / "store.db-wal"
            usual = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            room = max(log.stat().st_size, (phone.folder / "store.db").stat().st_size) + 100_000
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (room, usual[1]))
            codes: list[str] = []
            for number in range(2_000):
                try:
                    acknowledged.append((await phone.node.send(chat, f"filling {number} " + "x" * 20_000)).id)
                except KithkinError as error:
                    codes.append(error.code)
                    if len(codes) == 5:
                        break
            assert codes == ["disk_full"] * 5
            is_refused(await phone.cli("send", chat, "still full " + "x" * 60_000), "disk_full")
            assert {m.id for m in await phone.messages(chat)} >= set(acknowledged)
            out = trio.stage.root / "out.jsonl"
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, usual[1]))
            assert await code_of(phone.node.export(chat, out)) == "disk_full"
            assert not out.exists(), "half an export is none"
            # Room again: writing goes on without a restart, everything acknowledged is there and arrives.
            resource.prlimit(pid, resource.RLIMIT_FSIZE, usual)
            acknowledged.append((await phone.node.send(chat, "room again")).id)
            assert (await phone.node.export(chat, out)).exported == 3 + len(acknowledged)
            await friend.run()
            assert [m.id for m in await friend.holds(chat, 3 + len(acknowledged))][3:] == acknowledged
            assert all(check.ok for check in (await phone.node.doctor()).checks)
            await phone.stop()
            await phone.run()
            assert [m.id for m in await phone.messages(chat)][3:] == acknowledged

    asyncio.run(story())


def test_unusable_import_and_export_files_are_refused(three: Three, tmp_path: Path) -> None:
    async def story() -> None:
        async with three() as trio:
            phone, chat = trio.phone, trio.direct
            await phone.run()
            for path in (tmp_path / "absent", tmp_path, tmp_path / "absent" / "below"):
                assert await code_of(phone.node.import_messages(chat, path)) == "not_found", path
            assert await code_of(phone.node.export(chat, tmp_path / "absent" / "x")) == "not_allowed"
            assert await code_of(phone.node.export(chat, tmp_path, force=True)) == "not_allowed"
            assert await code_of(phone.node.export(chat, tmp_path, format="yjs", force=True)) == "not_allowed"
            precious = tmp_path / "precious"
            precious.write_text("precious")
            assert await code_of(phone.node.export(chat, precious)) == "file_exists"
            assert await code_of(phone.node.export(chat, precious, format="yjs", force=True)) == "not_allowed"
            assert precious.read_text() == "precious"
            os.mkfifo(tmp_path / "pipe")
            assert await code_of(phone.node.import_messages(chat, tmp_path / "pipe")) == "not_found"
            # The node is still there.
            assert len(await phone.messages(chat)) == 3

    asyncio.run(story())


# ---- Ctrl-C


def test_ctrl_c_ends_any_command_with_130_and_loses_nothing(three: Three, tmp_path: Path) -> None:
    async def story() -> None:
        async with three() as trio:
            phone, friend, chat = trio.phone, trio.friend, trio.direct
            assert await (await phone.run()).stop(signal.SIGINT) == 0
            assert phone.noise == b""

            async def interrupted(one: Profile, *words: str, file: str = "store.db") -> tuple[int | None, bytes]:
                process = await one.spawn(*words)
                await holding(process, file)
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGINT)
                _, err = await process.communicate()
                return process.returncode, err

            for words in (
                ("read", chat, "--wait", "60"),
                ("send", chat, "interrupted"),
                ("search", "first"),
                ("doctor",),
                ("contact", "accept", (await friend.ask("contact", "invite"))["invite"]),
            ):
                status, err = await interrupted(phone, *words)
                assert status == 130 and b"Traceback" not in err, (words, status, err)

            # An import: what it had committed stays, the rest is added by the next.
            file = tmp_path / "lines.jsonl"
            line = '{{"at":"2024-01-01T00:00:{:02}Z","from":"ada","text":"line {}"}}\n'
            file.write_text("".join(line.format(n % 60, n) for n in range(5_000)))
            status, err = await interrupted(phone, "import", chat, str(file), file="lines.jsonl")
            assert status == 130 and b"Traceback" not in err
            told = await phone.ask("import", chat, str(file))
            assert told["imported"] + told["skipped"] == 5_000
            assert (await phone.ask("import", chat, str(file)))["imported"] == 0

            # A link that waits: its folder is as it was.
            new = trio.stage.profile("new")
            async with new.dialogue("link", "--host", HOST) as link:
                await link.line()
                link.process.send_signal(signal.SIGINT)
                assert await link.end() == 130
            assert not new.folder.exists() or not list(new.folder.iterdir())
            process = await new.spawn("init", "--name", "Ada")
            await holding(process, "store.db")
            process.send_signal(signal.SIGINT)
            await process.communicate()
            assert process.returncode in (0, 130)
            if process.returncode == 130 and not (new.folder / "keystore").exists():
                await new.ask("init", "--name", "Ada")
            assert (await new.ask("profile", "show"))["name"] == "Ada"

            # Commands on a running node: it goes on, and a wait that was given up is over there too.
            await phone.run()
            for _ in range(3):
                process = await phone.spawn("read", chat, "--wait", "60")
                await holding(process, "socket:")  # its connection
                process.send_signal(signal.SIGINT)
                await process.communicate()
                assert process.returncode == 130
            assert (await phone.node.status()).online

    asyncio.run(story())


# ---- the network


def test_node_survives_hostile_datagrams(three: Three) -> None:
    async def story() -> None:
        async with three() as trio:
            phone, friend, chat = trio.phone, trio.friend, trio.direct
            await phone.run()
            host, port = phone.ready["address"].split(":")
            rng = random.Random(11)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:

                def throw(data: bytes) -> None:
                    with contextlib.suppress(OSError):  # a full queue of the kernel is its answer
                        udp.sendto(data, (host, int(port)))

                for length in [*range(300), 1200, 1472, 9_000, 65_507]:
                    throw(rng.randbytes(length))
                    throw(bytes(length))
                    throw(b"\xff" * length)
                for first in range(256):
                    for second in (0, 1, 3, 255):
                        throw(bytes((first, second)) + rng.randbytes(rng.randrange(80)))
                # Looks like a UDX packet: magic, version, type, then whatever.
                for kind in range(64):
                    throw(bytes((0xFF, 1, kind, 0)) + rng.randbytes(60))
                # A handshake request with lengths that lie.
                for _ in range(300):
                    throw(bytes((0x03, rng.randrange(256))) + rng.randbytes(6) + b"\xfd\xff\xff" + rng.randbytes(900))
                await friend.run()
                await phone.node.send(chat, "through the storm")
                while len(await friend.seen(chat)) < 4:
                    throw(rng.randbytes(rng.randrange(1, 1400)))
                    await asyncio.sleep(0)
            assert (await friend.messages(chat))[-1].text == "through the storm"
            assert await phone.stop() == 0
            assert phone.noise == b"" and len(phone.events) > 0

    asyncio.run(story())


def test_node_survives_hostile_lines_at_its_socket(three: Three) -> None:
    async def story() -> None:
        async with three() as trio:
            phone = await trio.phone.run()
            rng = random.Random(5)
            for line in (
                b"\n",
                b"{}\n",
                b"[]\n",
                b"null\n",
                b'{"id":-1}\n',
                b'{"id":1,"call":"nothing"}\n',
                b'{"id":1,"call":"__init__"}\n',
                b'{"id":1,"call":"send","args":{"chat":1}}\n',
                b'{"id":1,"call":"export","args":{"chat":"x","path":5}}\n',
                b'{"id":1,"call":"read","args":{"chat":"x","limit":"many"}}\n',
                b'{"id":1,"call":"read","args":{"chat":"x","wait":1e999}}\n',
                b"[" * 200_000 + b"\n",
                b"x" * 2_000_000 + b"\n",
                rng.randbytes(10_000) + b"\n",
            ):
                reader, writer = await asyncio.open_unix_connection(str(phone.folder / "node.sock"))
                await reader.readline()
                with contextlib.suppress(ConnectionError):
                    writer.write(line)
                    await writer.drain()
                    writer.write_eof()
                    async with asyncio.timeout(30):
                        said = await reader.read()
                    assert b"internal" not in said, (line[:60], said)
                writer.close()
            assert (await phone.node.status()).online
            await phone.stop()
            assert phone.noise == b""

    asyncio.run(story())


def test_profile_works_in_a_deep_folder(tmp_path: Path) -> None:
    """A path too long for a socket's address serves all the same."""

    async def story() -> None:
        async with Stage(tmp_path / "stage") as stage:
            ada = stage.profile("ada")
            ada.folder = tmp_path / ("d" * 60) / ("e" * 60)
            ada.environment["KITHKIN_PROFILE"] = str(ada.folder)
            await ada.ask("init", "--name", "Ada")
            await ada.run()
            assert (await ada.ask("status"))["online"] is True

    asyncio.run(story())
