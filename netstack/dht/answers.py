"""The commands of dht-rpc itself (the `internal` ones), from the side that is asked.

PING, DELAYED_PING   an empty answer, at once or after some milliseconds
PING_NAT             the same, to another port of whoever asks
FIND_NODE            the closest nodes
DOWN_HINT            an empty answer; we look whether the node that we named still lives
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from hashlib import blake2b

from netstack.dht.ask import SendReply
from netstack.dht.contact import Contact, network_of
from netstack.dht.context import DhtContext
from netstack.dht.datagram import DELAYED_PING, DOWN_HINT, FIND_NODE, PING, PING_NAT, UNKNOWN_COMMAND, Request
from netstack.dht.timers import Alarm
from netstack.udp.port import Address


class InternalCommands:
    """`hinted(id)`: somebody says that the node with that id is down."""

    __slots__ = ("_context", "_hinted", "_reply", "delayed")

    def __init__(self, context: DhtContext, reply: SendReply, hinted: Callable[[bytes], None]) -> None:
        self.delayed: Counter[str] = Counter()  # pongs that wait for their time, by the network they go to
        self._context = context
        self._reply = reply
        self._hinted = hinted

    def answer(self, request: Request, source: Contact, port: int) -> None:
        """Answers a request whose `internal` bit is set; one that makes no sense gets no answer."""
        command = COMMANDS.get(request.command)
        if command is None:
            self._reply(request, source.address, port, error=UNKNOWN_COMMAND)
        else:
            command(self, request, source.address, port)

    def ping(self, request: Request, source: Address, port: int) -> None:
        """An empty answer."""
        self._reply(request, source, port, closer=False)

    def ping_nat(self, request: Request, source: Address, port: int) -> None:
        """An empty answer to the port that the value names, on the asker's own host."""
        value = request.value
        if value is None or len(value) < 2 or value[:2] == b"\0\0":
            return
        self._reply(request, source, port, closer=False, to=(source[0], int.from_bytes(value[:2], "little")))

    def find_node(self, request: Request, source: Address, port: int) -> None:
        """The nodes closest to the target."""
        if request.target is not None:
            self._reply(request, source, port)

    def down_hint(self, request: Request, source: Address, port: int) -> None:
        """An empty answer; the node that the value names is looked after."""
        if request.value is None or len(request.value) < 6:
            return
        self._hinted(blake2b(request.value[:6], digest_size=32).digest())
        self._reply(request, source, port, closer=False)

    def delayed_ping(self, request: Request, source: Address, port: int) -> None:
        """An empty answer after the milliseconds in the value, if there are not too many already."""
        if request.value is None or len(request.value) < 4:
            return
        limits, waiting = self._context.limits, self.delayed
        delay = int.from_bytes(request.value[:4], "little") / 1000
        asker = network_of(source[0])
        if delay > limits.delay or waiting.total() >= limits.delayed or waiting[asker] >= limits.delayed_each:
            return
        waiting[asker] += 1

        def pong(now: float) -> None:
            waiting[asker] -= 1
            if not waiting[asker]:
                del waiting[asker]
            self._reply(request, source, port, closer=False)

        self._context.timers.set(Alarm(pong), self._context.now + delay)


COMMANDS: dict[int, Callable[[InternalCommands, Request, Address, int], None]] = {
    PING: InternalCommands.ping,
    PING_NAT: InternalCommands.ping_nat,
    FIND_NODE: InternalCommands.find_node,
    DOWN_HINT: InternalCommands.down_hint,
    DELAYED_PING: InternalCommands.delayed_ping,
}
