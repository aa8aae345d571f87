"""How others see this node: its address, whether strangers reach it, and so whether it may have an id.

    firewalled, ephemeral   at the start; asks from the client port, so that the server port is untouched for the test
    open, ephemeral         the test passed: everything runs on the server port
    open, persistent        after 20 quiet minutes (adaptive) or at once (persistent): the id is the hash of our address

The test asks five nodes to answer to the server port, from which nothing was sent to them.  Three must come through.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from netstack.dht.ask import Ask
from netstack.dht.contact import contact_at
from netstack.dht.context import DhtContext
from netstack.dht.datagram import PING, PING_NAT, Response
from netstack.dht.events import Ephemeral, Mode, Nat, NetworkChanged, Persistent
from netstack.dht.rpc import Call
from netstack.dht.sampler import NatSampler
from netstack.ports import SERVER
from netstack.udp.port import Address

TESTERS = 5
ENOUGH = 3
LOOK_AGAIN = 3  # ticks from a change of network to the test of its firewall: a walk comes first
WITNESSES = 4  # nodes in a row that see us at another host before we look into it ...
JURY = 12  # ... and so many more that we ask: if one of them sees us where we were, we are there


class Reachability:
    """`host`: where strangers surely reach us, "" where that has to be found out.

    `moved()` is called after a change of network, `rebased(id)` where we have another id of our own.
    """

    def __init__(
        self,
        context: DhtContext,
        mode: Mode,
        host: str,
        moved: Callable[[], None],
        rebased: Callable[[bytes], None],
    ) -> None:
        self._context = context
        self._on_moved = moved
        self._on_rebased = rebased
        self.mode = mode
        self.host = host  # known to be reachable, "" where it has to be found out
        self.sampler = NatSampler()
        context.firewalled = not host
        self._tested_host: str | None = None
        self._testing = False
        self._stable = context.limits.stable
        self._strangers: set[Address] = set()  # whose samples of an unproved kind were taken
        self._witnesses: dict[Address, Address] = {}  # node -> the unexpected address at which it sees us
        self._asking = 0  # members of the jury that have not answered
        self._seen_here = False
        self._look_again = 0  # ticks until the firewall is tested anew, 0 for not at all

    @property
    def firewalled(self) -> bool:
        """Whether strangers may not reach the server port; True while it is not known."""
        return self._context.firewalled

    @property
    def ephemeral(self) -> bool:
        """Whether we have no id: others must not rely on us."""
        return self._context.ephemeral

    @property
    def address(self) -> Address | None:
        """Ours as others see it; port 0 where the NAT gives every destination another one."""
        return self.sampler.address

    @property
    def nat(self) -> Nat:
        """What the NAT before us does, as far as the samples and the test say."""
        address = self.address
        if address is None:
            return Nat.UNKNOWN
        if not self.firewalled:
            return Nat.OPEN
        return Nat.CONSISTENT if address[1] else Nat.RANDOM

    @property
    def reachable(self) -> bool:
        """Whether strangers reach the server port at the address that others see."""
        bound = self._context.bound_to(SERVER)
        return not self.firewalled and bound is not None and self.sampler.port == bound[1]

    def bound(self, address: Address) -> None:
        """The server port has its address; where our host was given we know all there is to know."""
        if self.host:
            self.sampler.add((self.host, address[1]))
            if self.mode is Mode.PERSISTENT:
                self._become_persistent((self.host, address[1]))

    # samples

    def sample(self, source: Address, to: Address) -> None:
        """A node with an id, not asked lately, sees us at `to`."""
        self.sampler.add(to)

    def sample_stranger(self, source: Address, to: Address) -> None:
        """A node without an id: as a rule a bootstrap node.  As many of them are believed as there are of those."""
        if source not in self._strangers and len(self._strangers) < max(1, len(self._context.bootstrap)):
            self._strangers.add(source)
            self.sampler.add(to)

    def witness(self, source: Address, to: Address) -> None:
        """Every answer says where we are.  Several nodes in a row that agree on a host that is not ours: did we move?

        Nodes may lie, together even.  After a move nobody at all sees us at the old host, so one that does settles it:
        of those that we then ask at once every single one would have to lie.
        """
        host = self.sampler.host
        if host is None or to[0] == host or self.host:
            self._witnesses.clear()
            self._seen_here = True
            return
        if any(seen[0] != to[0] for seen in self._witnesses.values()):
            self._witnesses.clear()
        self._witnesses[source] = to
        if len(self._witnesses) >= WITNESSES and not self._asking:
            self._ask_around(to)

    def _ask_around(self, to: Address) -> None:
        context = self._context
        jury = [address for address in context.table.latest(JURY + WITNESSES) if address not in self._witnesses][:JURY]
        self._seen_here = False
        self._asking = len(jury)

        def answered(response: Response | None) -> None:
            self._asking -= 1
            self._decide(to)

        for address in jury:
            context.call(address, Ask(PING, internal=True, tries=2)).done = answered
        self._decide(to)

    def _decide(self, to: Address) -> None:
        if not self._asking and not self._seen_here and self._witnesses:
            self.moved(to)

    def moved(self, address: Address | None = None) -> None:
        """Another network: its firewall is unknown, and what others said about our address is no longer true."""
        context = self._context
        self.sampler = NatSampler()
        self._witnesses.clear()
        self._strangers.clear()
        context.firewalled = not self.host
        if self.host and (bound := context.bound_to(SERVER)) is not None:
            self.sampler.add((self.host, bound[1]))
        for entry in context.table:
            entry.sampled = -1
        self.start_over()
        if self.firewalled:
            self._become_ephemeral()  # in any mode: the id was that of an address which is not ours any more
        self._look_again = LOOK_AGAIN
        context.tell(NetworkChanged(address, online=True))
        self._on_moved()

    def start_over(self) -> None:
        """Ephemeral until the network was quiet for an hour or, the second time, tested anew."""
        self._stable = self._context.limits.stable_again
        self._tested_host = None
        if self.mode is Mode.ADAPTIVE and not self.host:
            self._become_ephemeral()

    # the firewall test

    def tick(self) -> None:
        """Every 5 s: an adaptive node asks itself from time to time whether it can be of use."""
        if self._look_again:
            self._look_again -= 1
            if not self._look_again:
                self.examine(lambda passed: None, firewall_only=self.mode is not Mode.PERSISTENT)
                return
        if self.mode is Mode.EPHEMERAL or not self.ephemeral:
            return
        self._stable -= 1
        if self._stable > 0:
            return
        if self._tested_host is not None and self._tested_host == self.sampler.host:
            self._stable = self._context.limits.stable_again  # the same network as at the last try
        else:
            self.examine(lambda passed: None)

    def examine(self, done: Callable[[bool], None], *, firewall_only: bool = False) -> None:
        """Tests whether strangers reach us; if so, and unless `firewall_only`, becomes persistent.

        `done(passed)` follows, at once where there is nothing to test.
        """
        if self._testing or not self.ephemeral or (firewall_only and not self.firewalled):
            done(False)
            return
        if not firewall_only:
            self._stable = self._context.limits.stable_again
            self._tested_host = self.sampler.host
        if self.address is None or self.sampler.port == 0:
            done(False)
        elif not self.firewalled:
            self._pass(self.sampler, firewall_only, done)
        else:
            self._test(partial(self._tested, self.address, firewall_only, done))

    def _test(self, done: Callable[[NatSampler | None], None]) -> None:
        """`done` gets what the testers saw, or None where too few came through."""
        context = self._context
        bound = context.bound_to(SERVER)
        testers = context.table.latest(TESTERS)
        if len(testers) < TESTERS:
            testers = [
                *dict.fromkeys([*testers, *(contact.address for contact in context.contacts(context.bootstrap))])
            ]
        if bound is None or not testers:
            done(None)
            return
        self._testing = True
        seen = NatSampler()
        missing = set(testers)
        reached: set[Address] = set()
        value = bound[1].to_bytes(2, "little")

        def answered(call: Call, response: Response | None) -> None:
            missing.discard(call.to)
            if response is not None and call.heard == SERVER:
                reached.add(call.to)
                seen.add(response.to)
            if not missing:
                self._testing = False
                done(seen if len(reached) >= (ENOUGH if len(testers) >= TESTERS else 1) else None)

        for tester in testers:
            call = context.call(tester, Ask(PING_NAT, internal=True, value=value))
            call.done = partial(answered, call)

    def _tested(
        self, before: Address, firewall_only: bool, done: Callable[[bool], None], seen: NatSampler | None
    ) -> None:
        bound = self._context.bound_to(SERVER)
        if seen is None or bound is None or seen.host != self.sampler.host or seen.port != bound[1]:
            done(False)
        elif not self.ephemeral or before != self.address:
            done(False)  # things changed while we asked
        else:
            self._pass(seen, firewall_only, done)

    def _pass(self, seen: NatSampler, firewall_only: bool, done: Callable[[bool], None]) -> None:
        self._context.firewalled = False
        self.sampler = seen
        self._strangers.clear()
        address = seen.address
        assert address is not None
        if not firewall_only:
            self._become_persistent(address)
        else:
            self._rebase(contact_at(address).id)
        done(True)

    def _become_ephemeral(self) -> None:
        if not self.ephemeral:
            self._context.ephemeral = True
            self._context.tell(Ephemeral())

    def _become_persistent(self, address: Address) -> None:
        self._context.firewalled = False
        self._context.ephemeral = False
        self._rebase(contact_at(address).id)
        self._context.tell(Persistent(address))

    def _rebase(self, own: bytes) -> None:
        table = self._context.table
        if own != table.own:
            self._context.table = table.rebased(own)
            self._on_rebased(own)
