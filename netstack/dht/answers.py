"""The commands of dht-rpc itself (the `internal` ones), from the side that is asked.

PING, DELAYED_PING   an empty answer, at once or after some milliseconds
PING_NAT             the same, to another port of whoever asks
FIND_NODE            the closest nodes
DOWN_HINT            an empty answer; we look whether the node that we named still lives
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import TYPE_CHECKING

from netstack.dht.contact import Contact, network_of
from netstack.dht.datagram import DELAYED_PING, DOWN_HINT, FIND_NODE, PING, PING_NAT, UNKNOWN_COMMAND, Request
from netstack.dht.timers import Alarm

if TYPE_CHECKING:
    from netstack.dht.node import DhtNode


def answer_internal(node: DhtNode, request: Request, source: Contact, port: int) -> None:
    command = INTERNAL.get(request.command)
    if command is None:
        node.reply(request, source.address, port, error=UNKNOWN_COMMAND)
    else:
        command(node, request, source, port)


def ping(node: DhtNode, request: Request, source: Contact, port: int) -> None:
    node.reply(request, source.address, port, closer=False)


def ping_nat(node: DhtNode, request: Request, source: Contact, port: int) -> None:
    value = request.value
    if value is None or len(value) < 2 or value[:2] == b"\0\0":
        return
    node.reply(request, source.address, port, closer=False, to=(source.address[0], int.from_bytes(value[:2], "little")))


def find_node(node: DhtNode, request: Request, source: Contact, port: int) -> None:
    if request.target is not None:
        node.reply(request, source.address, port)


def down_hint(node: DhtNode, request: Request, source: Contact, port: int) -> None:
    if request.value is None or len(request.value) < 6:
        return
    node.upkeep.hinted(blake2b(request.value[:6], digest_size=32).digest())
    node.reply(request, source.address, port, closer=False)


def delayed_ping(node: DhtNode, request: Request, source: Contact, port: int) -> None:
    if request.value is None or len(request.value) < 4:
        return
    delay = int.from_bytes(request.value[:4], "little") / 1000
    asker = network_of(source.address[0])
    waiting = node.delayed
    if (
        delay > node.limits.delay
        or waiting.total() >= node.limits.delayed
        or waiting[asker] >= node.limits.delayed_each
    ):
        return
    waiting[asker] += 1

    def pong(now: float) -> None:
        waiting[asker] -= 1
        if not waiting[asker]:
            del waiting[asker]
        node.reply(request, source.address, port, closer=False)

    node.timers.set(Alarm(pong), node.now + delay)


INTERNAL: dict[int, Callable[[DhtNode, Request, Contact, int], None]] = {
    PING: ping,
    PING_NAT: ping_nat,
    FIND_NODE: find_node,
    DOWN_HINT: down_hint,
    DELAYED_PING: delayed_ping,
}
