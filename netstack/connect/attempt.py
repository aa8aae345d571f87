"""One connection attempt, on either side: several ways to the peer race, the first path wins, the others are closed.

`docs/protocol.md`, "Which way".  A relayed connection is open already; if another way is found then, it moves there.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from netstack.connect.blind_relay import Leg
from netstack.connect.context import ConnectContext
from netstack.connect.puncher import Puncher
from netstack.connect.secure_payload import SecurePayload
from netstack.connect.tasks import Promise, Task
from netstack.events import PathKind, Reason
from netstack.link import Link, Phase
from netstack.ports import OWN
from netstack.udp.port import Address
from netstack.wire.address import decode_address6
from netstack.wire.handshake import Agreement
from netstack.wire.messages import NoisePayload

PASSIVE = 10.0  # seconds to wait for packets of a peer that knows where we are
PUNCHING = 60.0  # the longest that all rounds and probes take
RELAYING = 15.0
INSURED = 2.0  # seconds in which something has to be acknowledged on a path that looked good
CONFIRMED = 2.0  # seconds until the peer has surely moved, though its sign was lost
LINGER = 5.0  # packets of the old path still come through the relay


class Attempt:
    """`ways` are the ones that may still lead somewhere; when none is left and nothing was found, it fails."""

    def __init__(self, context: ConnectContext, link: Link) -> None:
        self.context = context
        self.link = link
        self.puncher: Puncher | None = None
        self.sealed: SecurePayload | None = None
        self.ways: set[str] = set()
        self.over = False  # closed, or the best path was found
        self.hosts: set[str] = set()  # where the peer may be heard from
        self._relay_key = b""
        self._relay_token = b""
        self._leg: Leg | None = None
        self._tasks: list[Task] = []
        context.links.watch(link, self.on_packet)

    @property
    def payload(self) -> NoisePayload:
        """What the peer said of itself in the handshake.  Only after `agree`."""
        assert self.link.agreement is not None
        return self.link.agreement.payload

    @property
    def remote_id(self) -> int:
        """The id of the peer's stream, 0 where it named none."""
        udx = self.payload.udx
        return udx.id if udx is not None else 0

    def agree(self, agreement: Agreement) -> None:
        """The handshake is done: its keys go to the link, its addresses are where the peer may be heard from."""
        self.link.agree(agreement, self.context.rng)
        self.sealed = SecurePayload(agreement.hash, self.context.rng)
        self.hosts.update(address[0] for address in agreement.payload.addresses4)
        self.hosts.update(decode_address6(wire)[0] for wire in agreement.payload.addresses6)
        self.context.links.touch(self.link.id)

    # ways

    def way(self, name: str, coroutine: Coroutine[Promise[Any], None, None], patience: float) -> None:
        """Tries a way beside the others, for so many seconds at most."""
        self.ways.add(name)
        self.link.patient(self.context.tasks.now + patience)
        self.context.links.touch(self.link.id)
        self.spawn(coroutine)

    def spawn(self, coroutine: Coroutine[Promise[Any], None, None]) -> Task:
        """A task that ends with the attempt."""
        task = self.context.tasks.spawn(coroutine)
        self._tasks = [known for known in self._tasks if not known.done.done] + [task]
        return task

    async def wait(self, name: str, seconds: float) -> None:
        """A way on which only the peer can do something."""
        await self.context.tasks.sleep(seconds)
        self.lost(name, Reason.NO_PATH)

    def lost(self, name: str, reason: Reason) -> None:
        """A way led nowhere."""
        self.ways.discard(name)
        if self.over or self.ways:
            return
        if self.link.phase in (Phase.DIALING, Phase.WAITING):
            self.context.links.fail(self.link, reason)
        self.close()

    def found(self, address: Address, port: int, path: PathKind) -> None:
        """The peer is reached from our `port` at `address`: the first time is the one that counts."""
        if self.over:
            return
        link, links = self.link, self.context.links
        puncher = self.puncher
        if puncher is not None and port >= OWN:
            puncher.taken(port)
            link.own_port = port
        if link.phase is Phase.WAITING:
            link.take(self.remote_id, address, port, path, links.now)
            if self._relay_key:
                self.context.tasks.at(links.now + INSURED, self._insure)
        elif link.path is PathKind.RELAYED:
            relay = link.stream.remote
            link.move(self.remote_id, address, port, path, links.now)
            # until the peer has moved too, its packets come through the relay alone; npm repeats there without end
            links.watch(link, lambda source, port: None if source == relay else False)
            link.on_confirmed = link.stream.forget_old_paths
            self.context.tasks.at(links.now + CONFIRMED, link.stream.forget_old_paths)
            self._retire_relay()
        links.touch(link.id)
        self.close()

    def _insure(self) -> None:
        """A probe came through, or a pong; whether the stream does as well is only known by now.  If not, and a relay
        stands by, that one carries us; if so, the relay is let go."""
        link = self.link
        if link.phase in (Phase.OPENING, Phase.OPEN) and not link.stream.flight.delivered and self._leg is not None:
            address, port, id = self._leg
            link.move(id, address, port, PathKind.RELAYED, self.context.links.now)
            self.context.links.touch(link.id)
        else:
            self._retire_relay()

    def relayed(self, address: Address, port: int, remote_id: int) -> None:
        """A blind relay has tied us together; better ways go on being tried."""
        if self.link.phase is Phase.WAITING:
            self.link.take(remote_id, address, port, PathKind.RELAYED, self.context.links.now)
            self.context.links.touch(self.link.id)

    def on_packet(self, source: Address, port: int) -> bool | None:
        """A packet for our stream from an address that it does not know: the peer has found us."""
        link = self.link
        if self._relay_key and self.context.relays is not None and self.context.relays.is_at(self._relay_key, source):
            return None  # the peer's packets came before the relay's answer that the two streams are paired
        if link.phase is Phase.WAITING:
            self.found(source, port, self.kind_of(source, port))
            return True
        if link.path is PathKind.RELAYED and not self.over:
            if source[0] in self.hosts or port >= OWN:
                self.found(source, port, self.kind_of(source, port))
                return True
            return False
        if link.half_open:  # the dialler may be heard first on another of its paths
            link.stream.port = port
            return True
        return self._stray(source, port)

    def _stray(self, source: Address, port: int) -> bool | None:
        """A packet from another port of the peer's host: its router may have changed it.  Followed if it was sealed."""
        remote = self.link.stream.remote
        if self.link.phase is not Phase.OPEN or remote is None or source[0] != remote[0]:
            return False
        self.link.stray = source, port
        return None

    def kind_of(self, source: Address, port: int) -> PathKind:
        """What lies on a path to `source` from our `port`: ports of an attempt's own were punched."""
        return PathKind.PUNCHED if port >= OWN else PathKind.DIRECT

    # blind relays

    def relay_through(self, key: bytes, token: bytes, initiator: bool) -> None:
        """Tries the blind relay with this key; `initiator` is the end that has named it."""
        self._relay_key, self._relay_token = key, token
        self.way("relay", self._relay(key, token, initiator), RELAYING)

    async def _relay(self, key: bytes, token: bytes, initiator: bool) -> None:
        relays = self.context.relays
        if relays is not None:
            paired = relays.pair(key, token, initiator, self.link.stream.local_id)
            paired.then(lambda: self._tied(paired.value))
            leg = await self.context.tasks.within(RELAYING, paired)
            if leg is not None:
                self.relayed(*leg)
                return  # the way stays: it carries the connection
            relays.unpair(key, token)
        self.lost("relay", Reason.NO_PATH)

    def _tied(self, leg: Leg | None) -> None:
        self._leg = leg

    def _retire_relay(self) -> None:
        """Gives the pairing up after LINGER seconds: packets of both sides may still be on that path."""
        relays, key, token = self.context.relays, self._relay_key, self._relay_token
        if relays is not None and key:
            self.context.tasks.at(self.context.tasks.now + LINGER, lambda: relays.unpair(key, token))
            self._relay_key = b""

    # the end

    def close(self) -> None:
        """Nothing is tried any more.  A port that carries the connection stays with the link."""
        if self.over:
            return
        self.over = True
        if self.puncher is not None:
            self.puncher.close()
        for task in self._tasks:
            task.cancel()

    def gone(self) -> None:
        """The connection itself is over."""
        self.close()
        if self.context.relays is not None and self._relay_key:
            self.context.relays.unpair(self._relay_key, self._relay_token)
            self._relay_key = b""
