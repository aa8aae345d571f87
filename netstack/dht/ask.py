"""What one node asks another: the command and everything that belongs to the question, apart from who is asked.

An `Ask` is the same for every node that a walk visits; the address and what to do with the answer are given beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from netstack.dht.datagram import Request, Response
from netstack.udp.port import Address

Done = Callable[[Response | None], None]  # None: no answer came
Handler = Callable[[Request, Address, int, float], bool]  # (request, source, our port, now); False: name closer nodes


@dataclass(frozen=True, slots=True)
class Ask:
    """One question.  `internal` commands are those of dht-rpc itself, the others those of HyperDHT.

    `token` is the one that the asked node gave us, where the command writes.  `port` None: the port that requests go
    out from; `tries` 0: as many as usual; `ttl` 0: as the system does; `timeout` 0: as the node's round trips say.
    """

    command: int
    internal: bool = False
    target: bytes | None = None  # 32 bytes
    value: bytes | None = None
    token: bytes | None = None  # 32 bytes
    port: int | None = None
    tries: int = 0
    ttl: int = 0
    timeout: float = 0.0  # seconds


class SendReply(Protocol):
    """`DhtNode.reply`, as the parts that answer see it: answers `request` from `port`, to `to` or else to `source`."""

    def __call__(
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
    ) -> None: ...
