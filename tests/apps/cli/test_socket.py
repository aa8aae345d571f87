"""The service over its Unix socket answers as it does in process, and refuses what is no call."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sync.service import models as m
from sync.service import remote
from sync.service.api import KithkinError, Network, Service
from sync.service.calls import CALLS
from sync.service.frames import MAX_REQUEST, SOCKET
from sync.service.remote import SocketService, connect
from sync.service.socket import ServiceServer, line_of
from tests.apps.cli.fake_service import CODE, PAIR, WORDS, FakeService


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[tuple[FakeService, SocketService]]:
    fake = FakeService.new(Network())
    async with ServiceServer(fake, folder):
        service = await connect(folder)
        assert service is not None
        async with service:
            yield fake, service


def over_the_socket(folder: Path, play: Callable[[FakeService, SocketService], Awaitable[None]]) -> None:
    async def stage() -> None:
        async with served(folder) as (fake, service):
            await asyncio.wait_for(play(fake, service), 30)

    asyncio.run(stage())


async def code_of(call: Awaitable[object]) -> str:
    with pytest.raises(KithkinError) as caught:
        await call
    return caught.value.code


def test_socket_has_mode_0600_and_is_removed_when_the_node_stops(tmp_path: Path) -> None:
    async def play(fake: FakeService, service: SocketService) -> None:
        assert stat.S_IMODE((tmp_path / SOCKET).stat().st_mode) == 0o600

    over_the_socket(tmp_path, play)
    assert not (tmp_path / SOCKET).exists()
    assert asyncio.run(connect(tmp_path)) is None


def test_socket_left_by_a_dead_process_is_replaced_by_the_next_node(tmp_path: Path) -> None:
    async def play() -> None:
        import socket

        dead = socket.socket(socket.AF_UNIX)
        dead.bind(str(tmp_path / SOCKET))
        dead.close()
        assert await connect(tmp_path) is None
        async with served(tmp_path) as (_, service):
            assert (await service.profile()).name == "Ada"

    asyncio.run(play())


def test_socket_works_in_a_folder_whose_path_is_too_long_for_an_address(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["a-rather-long-folder-name"] * 8)
    deep.mkdir(parents=True)

    async def play(fake: FakeService, service: SocketService) -> None:
        assert (await service.send("self", "from below")).state == "queued"

    over_the_socket(deep, play)
    assert not (deep / SOCKET).exists()


def test_every_call_answers_over_the_socket_as_in_process(tmp_path: Path) -> None:
    async def play(fake: FakeService, service: SocketService) -> None:
        twin = FakeService.new(Network())

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
            "device_revocation": lambda s: s.device_revocation("device_desktop"),
            "device_revoke": lambda s: s.device_revoke("device_desktop"),
            "device_keep": lambda s: s.device_keep(WORDS, ["desk"]),
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
            "chat_demote": lambda s: s.chat_demote("chat_1", "contact_bob"),
            "chat_remove": lambda s: s.chat_remove("chat_1", "contact_bob"),
            "chat_restart": lambda s: s.chat_restart("chat_1", ["contact_bob"]),
            "chat_set": lambda s: s.chat_set("chat_1", "history", "none"),
            "delete_chat": lambda s: s.delete_chat("chat_1"),
            "send": lambda s: s.send("self", "Grüße\n\x1b[31m漢字 🎈", reply=None),
            "read": lambda s: s.read("self", limit=5),
            "message": lambda s: s.message("msg_0", chat="self"),
            "mark": lambda s: s.mark("self", upto="msg_0"),
            "edit": lambda s: s.edit("self", "msg_0", "greetings"),
            "react": lambda s: s.react("self", "msg_0", "🎈"),
            "forge_transcript": lambda s: s.forge_transcript("self", lines, tmp_path / "forged", force=True),
            "backup": lambda s: s.backup(tmp_path / "backup", "another secret"),
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


def test_refusals_arrive_over_the_socket_with_their_code(tmp_path: Path) -> None:
    async def play(fake: FakeService, service: SocketService) -> None:
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


def test_events_requested_before_a_message_include_it(tmp_path: Path) -> None:
    async def play(fake: FakeService, service: SocketService) -> None:
        events = service.events()
        await service.send("self", "one")
        await service.send("self", "two")
        fake.end_events()
        seen = [event.message.text async for event in events if isinstance(event, m.MessageEvent)]
        assert seen == ["one", "two"]

    over_the_socket(tmp_path, play)


def test_slow_reader_of_events_over_the_socket_is_told_of_a_gap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "MAX_WAITING", 2)

    async def play(fake: FakeService, service: SocketService) -> None:
        events = service.events()
        for text in ("one", "two", "lost", "lost too"):
            await service.send("self", text)
        fake.end_events()
        await service.status()
        seen = [event.message.text if isinstance(event, m.MessageEvent) else event.event async for event in events]
        assert seen == ["one", "two", "gap"]

    over_the_socket(tmp_path, play)


def test_approval_shows_its_grants_then_digits_then_the_new_device(tmp_path: Path) -> None:
    async def play(fake: FakeService, service: SocketService) -> None:
        async with service.device_approve(PAIR) as approval:
            assert approval.grant.grants == ["It reads all your chats."]
            assert "device_new" not in fake.names
            assert (await approval.confirm()).code == CODE
            assert (await approval.done()).device == "device_new"
        assert len((await service.devices()).devices) == 2

    over_the_socket(tmp_path, play)


def test_approval_left_without_confirming_adds_no_device(tmp_path: Path) -> None:
    async def play(fake: FakeService, service: SocketService) -> None:
        async with service.device_approve(PAIR):
            pass
        await service.status()  # the withdrawal was sent before: it has been taken
        while not fake.cancelled:
            await asyncio.sleep(0)
        assert fake.cancelled == ["approval over"] and len((await service.devices()).devices) == 1
        with pytest.raises(KithkinError) as caught:
            async with service.device_approve("kithkin:invite/BBBB"):
                pass
        assert caught.value.code == "not_a_pair_code"

    over_the_socket(tmp_path, play)


def test_calls_of_a_closed_connection_are_cancelled_in_the_node(tmp_path: Path) -> None:
    async def play() -> None:
        async with served(tmp_path) as (fake, service):
            waiting = asyncio.create_task(service.read("self", wait=1_000))
            await service.status()
            await service.close()
            with pytest.raises(KithkinError):
                await waiting
            while fake.cancelled != ["read"]:
                await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(play(), 30))


def test_cancelled_call_is_cancelled_in_the_node(tmp_path: Path) -> None:
    async def play(fake: FakeService, service: SocketService) -> None:
        waiting = asyncio.create_task(service.read("self", wait=1_000))
        await service.status()
        waiting.cancel()
        while fake.cancelled != ["read"]:
            await service.status()

    over_the_socket(tmp_path, play)


def test_calls_fail_with_timeout_when_the_node_stops(tmp_path: Path) -> None:
    async def play() -> None:
        fake = FakeService.new(Network())
        async with ServiceServer(fake, tmp_path):
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


def test_server_stops_although_a_client_reads_none_of_its_answers(tmp_path: Path) -> None:
    """A suspended process, say: more is on its way to it than the socket holds."""

    async def play() -> None:
        fake = FakeService.new(Network())
        for _ in range(200):
            await fake.send("self", "a" * 10_000)
        node = AsyncExitStack()
        await node.enter_async_context(ServiceServer(fake, tmp_path))
        reader, writer = await asyncio.open_unix_connection(tmp_path / SOCKET, limit=1000)
        await reader.readline()
        for number in range(20):
            request = {"id": number, "call": "read", "args": {"chat": "self", "limit": 200}}
            writer.write(json.dumps(request).encode() + b"\n")
        await reader.readexactly(1)  # it has begun to answer; a reader with that much waiting takes nothing more
        stopping = asyncio.create_task(node.aclose())
        stopped, _ = await asyncio.wait([stopping], timeout=10)
        writer.transport.abort()
        await stopping
        assert stopped, "the node waited for its client"

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
def test_line_that_is_no_request_ends_only_its_own_connection(tmp_path: Path, line: bytes) -> None:
    async def play(fake: FakeService, service: SocketService) -> None:
        reader, writer = await asyncio.open_unix_connection(tmp_path / SOCKET)
        assert json.loads(await reader.readline()) == {"service": 1}
        writer.write(line)
        said = await reader.readline()
        if said:
            assert json.loads(said)["error"]["code"] == "usage"
        assert fake.messages == []
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
        {"id": 1, "call": "read", "args": {"chat": "self", "wait": float("nan")}},
        {"id": 1, "call": "read", "args": {"chat": "self", "wait": float("inf")}},
        {"id": 1, "call": "export", "args": {"chat": "self", "path": "out.jsonl"}},
        {"id": 1, "call": "import_messages", "args": {"chat": "self", "path": "/nul\0/in.jsonl"}},
    ],
    ids=[
        "unknown",
        "private",
        "missing",
        "wrong type",
        "unknown argument",
        "self",
        "not a number",
        "infinite wait",
        "relative path",
        "nul in a path",
    ],
)
def test_invalid_call_is_refused_and_the_connection_stays_open(tmp_path: Path, request_line: dict[str, object]) -> None:
    async def play(fake: FakeService, service: SocketService) -> None:
        reader, writer = await asyncio.open_unix_connection(tmp_path / SOCKET)
        await reader.readline()
        writer.write(json.dumps(request_line).encode() + b"\n")
        assert json.loads(await reader.readline())["error"]["code"] == "usage"
        writer.write(b'{"id":2,"call":"profile"}\n')
        assert json.loads(await reader.readline())["value"]["name"] == "Ada"
        writer.close()

    over_the_socket(tmp_path, play)


def test_unexpected_exception_in_a_call_is_reported_as_internal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def play(fake: FakeService, service: SocketService) -> None:
        fake.names.clear()
        assert await code_of(service.profile()) == "internal"
        fake.names["about"] = fake.names["profile"] = "back"
        assert (await service.profile()).name == "back"

    over_the_socket(tmp_path, play)
    assert "KeyError" in capsys.readouterr().err


def test_an_answer_that_is_not_unicode_becomes_a_refusal_for_its_request() -> None:
    said = json.loads(line_of({"id": 7, "value": {"name": "\udc80"}}))
    assert (said["id"], said["error"]["code"]) == (7, "usage")
