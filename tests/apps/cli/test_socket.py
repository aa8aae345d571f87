"""The service over its Unix socket answers as it does in process, and refuses what is no call."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sync.service import models as m
from sync.service.api import KithkinError, Network, Service
from sync.service.frames import MAX_REQUEST, SOCKET
from sync.service.remote import SocketService, connect
from sync.service.socket import CALLS, ServiceServer
from tests.apps.cli.notebook import CODE, PAIR, Notebook


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[tuple[Notebook, SocketService]]:
    notebook = Notebook(Network())
    async with ServiceServer(notebook, folder):
        service = await connect(folder)
        assert service is not None
        async with service:
            yield notebook, service


def over_the_socket(folder: Path, play: Callable[[Notebook, SocketService], Awaitable[None]]) -> None:
    async def stage() -> None:
        async with served(folder) as (notebook, service):
            await asyncio.wait_for(play(notebook, service), 30)

    asyncio.run(stage())


async def code_of(call: Awaitable[object]) -> str:
    with pytest.raises(KithkinError) as caught:
        await call
    return caught.value.code


def test_the_socket_is_for_its_owner_alone_and_goes_with_the_node(tmp_path: Path) -> None:
    async def play(notebook: Notebook, service: SocketService) -> None:
        assert stat.S_IMODE((tmp_path / SOCKET).stat().st_mode) == 0o600

    over_the_socket(tmp_path, play)
    assert not (tmp_path / SOCKET).exists()
    assert asyncio.run(connect(tmp_path)) is None


def test_a_dead_process_leaves_a_socket_that_the_next_replaces(tmp_path: Path) -> None:
    async def play() -> None:
        import socket

        dead = socket.socket(socket.AF_UNIX)
        dead.bind(str(tmp_path / SOCKET))
        dead.close()
        assert await connect(tmp_path) is None
        async with served(tmp_path) as (_, service):
            assert (await service.profile()).name == "Ada"

    asyncio.run(play())


def test_a_profile_lies_deeper_than_a_socket_address_may_be_long(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["a-rather-long-folder-name"] * 8)
    deep.mkdir(parents=True)

    async def play(notebook: Notebook, service: SocketService) -> None:
        assert (await service.send("self", "from below")).state == "queued"

    over_the_socket(deep, play)
    assert not (deep / SOCKET).exists()


def test_every_command_answers_over_the_socket_as_in_process(tmp_path: Path) -> None:
    async def play(notebook: Notebook, service: SocketService) -> None:
        twin = Notebook(Network())

        async def both(ask: Callable[[Service], Awaitable[m.Line]]) -> None:
            assert await ask(service) == await ask(twin)

        lines = tmp_path / "in.jsonl"
        lines.write_text('{"text": "kale and kelp"}\n')
        moment = datetime(2026, 11, 24, tzinfo=UTC)
        asked: dict[str, Callable[[Service], Awaitable[m.Line]]] = {
            "ready": lambda s: s.ready(),
            "status": lambda s: s.status(),
            "stats": lambda s: s.stats(),
            "doctor": lambda s: s.doctor(repair=True),
            "passphrase": lambda s: s.passphrase("new", keyring=False),
            "devices": lambda s: s.devices(),
            "device_rename": lambda s: s.device_rename("device_phone", "pocket"),
            "profile": lambda s: s.profile(),
            "profile_set": lambda s: s.profile_set(name="Ada L.", about="engines"),
            "contacts": lambda s: s.contacts(),
            "contact_invite": lambda s: s.contact_invite(expires=60),
            "contact_accept": lambda s: s.contact_accept("kithkin:invite/BBBB", wait=1),
            "contact_rename": lambda s: s.contact_rename("contact_bob", "Bobby"),
            "contact_block": lambda s: s.contact_block("contact_bob"),
            "contact_unblock": lambda s: s.contact_unblock("contact_bob"),
            "contact_verify": lambda s: s.contact_verify("contact_bob", confirm=True),
            "chats": lambda s: s.chats(),
            "chat_new": lambda s: s.chat_new("Trip", ["contact_bob"]),
            "chat_join": lambda s: s.chat_join("chat_1"),
            "chat_decline": lambda s: s.chat_decline("chat_1"),
            "chat_leave": lambda s: s.chat_leave("chat_1"),
            "chat_rename": lambda s: s.chat_rename("self", "Diary"),
            "chat_members": lambda s: s.chat_members("self"),
            "chat_add": lambda s: s.chat_add("chat_1", "contact_bob"),
            "chat_admin": lambda s: s.chat_admin("chat_1", "contact_bob"),
            "chat_set": lambda s: s.chat_set("chat_1", "history", "none"),
            "delete_chat": lambda s: s.delete_chat("chat_1"),
            "send": lambda s: s.send("self", "Grüße\n\x1b[31m漢字 🎈", reply=None),
            "read": lambda s: s.read("self", limit=5),
            "message": lambda s: s.message("msg_0", chat="self"),
            "mark": lambda s: s.mark("self", upto="msg_0"),
            "edit": lambda s: s.edit("self", "msg_0", "greetings"),
            "react": lambda s: s.react("self", "msg_0", "🎈"),
            "search": lambda s: s.search("greetings", since=moment, until=None, sort="score", limit=3),
            "outbox": lambda s: s.outbox(),
            "delete": lambda s: s.delete("self", "msg_0", everyone=True),
            "import_messages": lambda s: s.import_messages("self", lines, skip_bad=True),
            "export": lambda s: s.export("self", tmp_path / "out.jsonl", force=True),
        }
        for ask in asked.values():
            await both(ask)
        assert set(CALLS) - set(asked) == {"cancel", "events", "device_approve"}

    over_the_socket(tmp_path, play)


def test_refusals_arrive_with_their_code(tmp_path: Path) -> None:
    async def play(notebook: Notebook, service: SocketService) -> None:
        assert [
            await code_of(service.send("nowhere", "x")),
            await code_of(service.send("self", "   ")),
            await code_of(service.send("self", "a" * 65_537)),
            await code_of(service.send("self", "é" * 32_769)),
            await code_of(service.send("self", "a" * 2_000_000)),
            await code_of(service.send("self", "nul \0 in it")),
            await code_of(service.send("self", "lone \udc80 surrogate")),
            await code_of(service.search("%" * 1_000_000)),
            await code_of(service.search('"" % * ( ) -')),
            await code_of(service.cancel("self", "msg_0")),
            await code_of(service.read("self", limit="many")),  # type: ignore[arg-type]
        ] == [
            "not_found",
            "empty_text",
            "text_too_long",
            "text_too_long",
            "text_too_long",
            "text_invalid",
            "text_invalid",
            "bad_query",
            "bad_query",
            "not_allowed",
            "usage",
        ]
        assert (await service.read("self")).messages == []

    over_the_socket(tmp_path, play)


def test_events_asked_for_before_a_message_hold_it(tmp_path: Path) -> None:
    async def play(notebook: Notebook, service: SocketService) -> None:
        events = service.events()
        await service.send("self", "one")
        await service.send("self", "two")
        notebook.end_events()
        seen = [event.message.text async for event in events if isinstance(event, m.MessageEvent)]
        assert seen == ["one", "two"]

    over_the_socket(tmp_path, play)


def test_an_approval_is_described_confirmed_and_done(tmp_path: Path) -> None:
    async def play(notebook: Notebook, service: SocketService) -> None:
        async with service.device_approve(PAIR) as approval:
            assert approval.grant.grants == ["It reads all your chats."]
            assert "device_new" not in notebook.names
            assert (await approval.confirm()).code == CODE
            assert (await approval.done()).device == "device_new"
        assert len((await service.devices()).devices) == 2

    over_the_socket(tmp_path, play)


def test_an_approval_left_unconfirmed_ends_without_a_device(tmp_path: Path) -> None:
    async def play(notebook: Notebook, service: SocketService) -> None:
        async with service.device_approve(PAIR):
            pass
        await service.status()  # the withdrawal was sent before: it has been taken
        while not notebook.cancelled:
            await asyncio.sleep(0)
        assert notebook.cancelled == ["approval over"] and len((await service.devices()).devices) == 1
        with pytest.raises(KithkinError) as caught:
            async with service.device_approve("kithkin:invite/BBBB"):
                pass
        assert caught.value.code == "not_a_pair_code"

    over_the_socket(tmp_path, play)


def test_a_caller_that_goes_takes_its_calls_along(tmp_path: Path) -> None:
    async def play() -> None:
        async with served(tmp_path) as (notebook, service):
            waiting = asyncio.create_task(service.read("self", wait=1_000))
            await service.status()
            await service.close()
            with pytest.raises(KithkinError):
                await waiting
            while notebook.cancelled != ["read"]:
                await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(play(), 30))


def test_a_cancelled_call_is_cancelled_in_the_node(tmp_path: Path) -> None:
    async def play(notebook: Notebook, service: SocketService) -> None:
        waiting = asyncio.create_task(service.read("self", wait=1_000))
        await service.status()
        waiting.cancel()
        while notebook.cancelled != ["read"]:
            await service.status()

    over_the_socket(tmp_path, play)


def test_a_node_that_ends_answers_nobody_and_says_so(tmp_path: Path) -> None:
    async def play() -> None:
        notebook = Notebook(Network())
        async with ServiceServer(notebook, tmp_path):
            service = await connect(tmp_path)
            assert service is not None
            waiting = asyncio.create_task(service.read("self", wait=1_000))
            await service.status()
        async with service:
            with pytest.raises(KithkinError) as caught:
                await waiting
            assert caught.value.code == "timeout"
            assert await code_of(service.status()) == "timeout"

    asyncio.run(asyncio.wait_for(play(), 30))


@pytest.mark.parametrize(
    "line",
    [
        b"not json\n",
        b"[]\n",
        b"{}\n",
        b'{"id":-1,"call":"status"}\n',
        b'{"id":1,"call":"status","args":{"x":1},"more":true}\n',
        b'{"id":1,"call":"' + b"s" * 65 + b'"}\n',
        b'{"id":1,"call":"send","args":{"chat":"self","text":"\\udc80"}}\n',
        b"x" * (MAX_REQUEST + 10) + b"\n",
        b"\xff\xfe\n",
    ],
    ids=["noise", "list", "empty", "negative id", "more keys", "long name", "surrogate", "long line", "no utf-8"],
)
def test_what_is_no_request_ends_that_connection_alone(tmp_path: Path, line: bytes) -> None:
    async def play(notebook: Notebook, service: SocketService) -> None:
        reader, writer = await asyncio.open_unix_connection(tmp_path / SOCKET)
        assert json.loads(await reader.readline()) == {"service": 1}
        writer.write(line)
        said = await reader.readline()
        if said:
            assert json.loads(said)["error"]["code"] == "usage"
        assert notebook.messages == []
        writer.close()
        assert (await service.profile()).name == "Ada"

    over_the_socket(tmp_path, play)


@pytest.mark.parametrize(
    "request_line",
    [
        {"id": 1, "call": "no_such_call"},
        {"id": 1, "call": "__init__"},
        {"id": 1, "call": "send", "args": {"chat": "self"}},
        {"id": 1, "call": "send", "args": {"chat": 5, "text": "x"}},
        {"id": 1, "call": "send", "args": {"chat": "self", "text": "x", "as": "root"}},
        {"id": 1, "call": "status", "args": {"self": 1}},
    ],
    ids=["unknown", "private", "missing", "wrong type", "unknown argument", "self"],
)
def test_a_wrong_call_is_refused_and_the_connection_lives(tmp_path: Path, request_line: dict[str, object]) -> None:
    async def play(notebook: Notebook, service: SocketService) -> None:
        reader, writer = await asyncio.open_unix_connection(tmp_path / SOCKET)
        await reader.readline()
        writer.write(json.dumps(request_line).encode() + b"\n")
        assert json.loads(await reader.readline())["error"]["code"] == "usage"
        writer.write(b'{"id":2,"call":"profile"}\n')
        assert json.loads(await reader.readline())["value"]["name"] == "Ada"
        writer.close()

    over_the_socket(tmp_path, play)


def test_a_defect_in_the_engine_is_told_as_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def play(notebook: Notebook, service: SocketService) -> None:
        notebook.names.clear()
        assert await code_of(service.profile()) == "internal"
        notebook.names["about"] = notebook.names["profile"] = "back"
        assert (await service.profile()).name == "back"

    over_the_socket(tmp_path, play)
    assert "KeyError" in capsys.readouterr().err
