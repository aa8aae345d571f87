"""Requests and answers of connecting: what it needs of a DHT node, and a replacement where there is no DHT.

With a DHT it is `netstack.dht.node.DhtNode`.  Without one, `BareNode` sends handshakes to addresses that we were given
and answers every question for nodes with none.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Protocol

from identity.errors import DecodeError
from identity.keys import Random
from netstack.connect.tasks import Promise, Tasks, Timer
from netstack.dht.ask import Ask, Done, Handler, SendReply
from netstack.dht.datagram import (
    FIND_NODE,
    FIND_PEER,
    LOOKUP,
    PEER_HANDSHAKE,
    PING,
    UNKNOWN_COMMAND,
    Request,
    Response,
    decode_datagram,
    encode_request,
    encode_response,
)
from netstack.ports import SERVER, SERVER6
from netstack.udp.port import Address, Outgoing
from netstack.wire.address import encode_address

MAX_CALLS = 4096
TRIES = 4  # of a request, where nothing else is said
RETRY = 0.5  # seconds until the first repetition; it doubles

# Requests that any node may get; without a DHT the answer names no nodes.
KNOWN_QUESTIONS = {(True, PING), (True, FIND_NODE), (False, FIND_PEER), (False, LOOKUP), (False, PEER_HANDSHAKE)}


class Cancellable(Protocol):
    """A request under way.  After `cancel` its `done` is not called any more."""

    def cancel(self) -> None:
        """Withdraws the request: `done` is not called any more."""
        ...


class RpcNode(Protocol):
    """What connecting needs of a node: `netstack.dht.node.DhtNode`, or `BareNode` where there is none."""

    handlers: dict[int, Handler]

    @property
    def port(self) -> int:
        """The port that requests go out from if nobody says otherwise."""
        ...

    @property
    def busy(self) -> bool:
        """Whether something waits to be sent or told."""
        ...

    def outgoing(self) -> list[Outgoing]:
        """Datagrams to send, each once."""
        ...

    def receive(self, data: bytes | memoryview, source: Address, port: int, now: float) -> None:
        """A datagram that begins 03 or 13.  Never raises."""
        ...

    def request(self, to: Address, ask: Ask, done: Done) -> Cancellable:
        """Asks one node; `done(None)` where it did not answer."""
        ...

    @property
    def reply(self) -> SendReply:
        """Answers a request."""
        ...

    def forward(self, request: Request, to: Address, value: bytes, port: int) -> None:
        """Sends `request` on to `to` under its own number."""
        ...


async def answer_of(rpc: RpcNode, to: Address, ask: Ask) -> Response | None:
    """What `to` answers, None if it does not.  Cancelling withdraws the question."""
    answer: Promise[Response | None] = Promise()
    call = rpc.request(to, ask, answer.keep)
    try:
        return await answer
    finally:
        call.cancel()


def dialable6(address: Address) -> bool:
    """Whether it is an IPv6 address that a datagram can be sent to."""
    try:
        host = IPv6Address(address[0])
    except ValueError:
        return False
    return 0 < address[1] <= 0xFFFF and not (host.is_unspecified or host.is_multicast or host.ipv4_mapped)


def dialable(address: Address) -> bool:
    """Whether a request can be sent there: the datagram around it has room for IPv4 alone."""
    try:
        encode_address(address)
    except DecodeError:
        return False
    return address[1] != 0 and address[0] != "0.0.0.0"


@dataclass(slots=True)
class BareCall:
    """Open until it is cancelled or out of tries: a forged answer leaves room for the true one."""

    node: BareNode
    tid: int
    to: Address
    done: Done
    outgoing: Outgoing
    tries: int
    wait: float = RETRY
    timer: Timer | None = None

    def cancel(self) -> None:
        """Withdraws the request: nothing is repeated, `done` is not called any more."""
        if self.timer is not None:
            self.timer.cancel()
        self.node.calls.pop(self.tid, None)


NO_ADDRESS: Address = ("0.0.0.0", 0)  # in the datagram around an IPv6 handshake, which has room for IPv4 alone


class BareNode:
    """Requests and answers of a port that belongs to no DHT: the server's without one, and always that of IPv6."""

    def __init__(self, rng: Random, tasks: Tasks, port: int = SERVER) -> None:
        self._port = port
        self.handlers: dict[int, Handler] = {}
        self.calls: dict[int, BareCall] = {}
        self._tasks = tasks
        self._next_tid = int.from_bytes(rng(2), "little")
        self._out: list[Outgoing] = []

    @property
    def port(self) -> int:
        """The port that requests go out from."""
        return self._port

    @property
    def busy(self) -> bool:
        """Whether datagrams wait to be sent."""
        return bool(self._out)

    def receive(self, data: bytes | memoryview, source: Address, port: int, now: float) -> None:
        """A datagram that begins 03 or 13.  Never raises."""
        try:
            message = decode_datagram(data)
        except DecodeError:
            return
        if isinstance(message, Response):
            call = self.calls.get(message.tid)
            if call is not None and call.to == source:
                call.done(message)
            return
        handler = None if message.internal else self.handlers.get(message.command)
        if handler is not None and handler(message, source, port, now):
            return
        known = (message.internal, message.command) in KNOWN_QUESTIONS
        self.reply(message, source, port, error=0 if known else UNKNOWN_COMMAND)

    def outgoing(self) -> list[Outgoing]:
        """Datagrams to send, each once."""
        out, self._out = self._out, []
        return out

    def request(self, to: Address, ask: Ask, done: Done) -> Cancellable:
        """Asks one address; `done(None)` where it did not answer.  The options of `ask` are as in a DHT node."""
        if len(self.calls) >= MAX_CALLS:  # as if it were lost
            lost = BareCall(self, -1, to, done, Outgoing(to, b""), 0)
            lost.timer = self._tasks.at(self._tasks.now + RETRY, lambda: self._due(lost))
            return lost
        while self._next_tid in self.calls:
            self._next_tid = (self._next_tid + 1) & 0xFFFF
        tid = self._next_tid
        self._next_tid = (tid + 1) & 0xFFFF
        data = encode_request(
            Request(tid, self._named(to), ask.command, ask.internal, ask.target, ask.value, token=ask.token)
        )
        outgoing = Outgoing(to, data, port=ask.port or self._port, ttl=ask.ttl)
        call = BareCall(self, tid, to, done, outgoing, ask.tries or TRIES)
        self.calls[tid] = call
        self._send(call)
        return call

    def reply(
        self,
        request: Request,
        source: Address,
        port: int,
        *,
        value: bytes | None = None,
        error: int = 0,
        closer: bool = True,
        token: bool = False,
        to: Address | None = None,
    ) -> None:
        """Answers without closer nodes and tokens: there are none here."""
        target = to or source
        with suppress(DecodeError):  # an IPv6 address that came to an IPv4 port
            data = encode_response(Response(request.tid, self._named(target), value, error))
            self._out.append(Outgoing(target, data, port=port))

    def forward(self, request: Request, to: Address, value: bytes, port: int) -> None:
        """Sends `request` on to `to` under its own number."""
        with suppress(DecodeError):  # as in `reply`
            data = encode_request(Request(request.tid, to, request.command, target=request.target, value=value))
            self._out.append(Outgoing(to, data, port=port))

    def _named(self, address: Address) -> Address:
        return NO_ADDRESS if self._port == SERVER6 else address

    def _send(self, call: BareCall) -> None:
        self._out.append(call.outgoing)
        call.tries -= 1
        call.timer = self._tasks.at(self._tasks.now + call.wait, lambda: self._due(call))
        call.wait *= 2

    def _due(self, call: BareCall) -> None:
        if call.tries > 0:
            self._send(call)
            return
        call.cancel()
        call.done(None)
