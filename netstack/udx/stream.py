"""One UDX stream: the sans-IO core that its owner feeds with packets and time, and asks for packets and events.

How an owner drives it (the endpoint does; `intake.dispatch` does the first line for whole batches):

    stream.receive(data, source, now)             for every datagram that names the stream's local id
    stream.write(data); stream.end(); ...         at any time
    for event in stream.take_events(): ...        after any of these
    shell.send_batch(stream.take_outgoing(now))   after any of these, once a turn: one acknowledgement for all of it
    loop.call_at(stream.next_wake(), ...)         then stream.wake(now), take_events, take_outgoing again

After `Closed` keep routing packets and waking until `finished`: the stream answers what the other side repeats because
our last packet was lost.  It costs nothing to forget it earlier, but the other side may then see a timeout.

Times are float seconds of one monotonic clock.  Bytes given to `write` must not change until they are acknowledged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum, auto
from math import inf

from identity.errors import DecodeError
from netstack.ports import SERVER
from netstack.udp.port import Address, Outgoing
from netstack.udx.bbr import Bbr
from netstack.udx.congestion import CongestionControl
from netstack.udx.events import Closed, Data, Drained, End, Event, Message, Reason, RemoteChanged
from netstack.udx.flight import Flight, Run
from netstack.udx.framing import Columns, encode_run
from netstack.udx.outbound import Outbound
from netstack.udx.packet import (
    ACK,
    DATA,
    DESTROY,
    END,
    HEADER_SIZE,
    HEARTBEAT,
    MESSAGE,
    SACK,
    Buffer,
    Header,
    decode_header,
    decode_sacks,
    encode_header,
    encode_sacks,
    split_body,
    unwrap,
)
from netstack.udx.paths import OldPaths, Path, overhead
from netstack.udx.reassembly import Reassembly
from netstack.udx.rtt import RttEstimator

RECEIVE_WINDOW = 4 << 20
_LINGER = 12.0  # about as long as the other side goes on repeating
_LINGER_REPLIES = 16
_MAX_MESSAGES = 64


class _Phase(Enum):
    OPEN = auto()
    LINGERING = auto()  # closed for the owner; repeats its last word when asked
    FINISHED = auto()


class UdxStream:
    """`local_id` is the id in packets that come, chosen at random; `connect` gives the other side's.

    `adopt(source)` decides about packets from an address other than the remote's (or from any, before `connect`): True
    makes it the remote from now on (event RemoteChanged), None takes the packet and no more, False drops it.  Without
    a hook packets are taken from anywhere and the remote stays, which is what the C library does.  Headers are not
    authenticated: a hook that says True to everybody lets whoever saw the id take the stream over.
    """

    def __init__(
        self,
        local_id: int,
        *,
        congestion: CongestionControl | None = None,
        receive_window: int = RECEIVE_WINDOW,
        adopt: Callable[[Address], bool | None] | None = None,
        keepalive: float = 0.0,
    ) -> None:
        self.local_id = local_id
        self.remote_id: int | None = None
        self.remote: Address | None = None
        self.port = SERVER  # sends from this one of its owner's ports, receives on any
        self.adopt = adopt
        self.keepalive = keepalive  # seconds of silence after which a heartbeat goes out; 0.0 = never
        self.packets_sent = 0
        self.bytes_sent = 0
        self.packets_received = 0
        self.bytes_received = 0
        self.refused = 0  # packets that were not valid
        self._phase = _Phase.OPEN
        self._closed: Reason | None = None
        self._events: list[Event] = []
        self._pieces: list[bytes] = []  # received in order and not taken yet
        self._now = 0.0

        self._in = Reassembly()
        self._window = receive_window
        self._buffered = 0
        self._advertised = receive_window
        self._ack_due = False
        self._end_told = False

        self._out = Outbound(congestion or Bbr(), overhead(None))
        self._messages: list[bytes] = []
        self._old_paths = OldPaths()
        self._destroy_seq = 0
        self._replies = 0
        self._keepalive_at = inf
        self._linger_at = inf

    # -- for the owner ------------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        return self.remote_id is not None

    @property
    def closed(self) -> Reason | None:
        return self._closed

    @property
    def finished(self) -> bool:
        """Nothing is left to say: the owner may forget the id."""
        return self._phase is _Phase.FINISHED

    @property
    def queued(self) -> int:
        """Bytes written and not yet acknowledged."""
        return self._out.queued

    @property
    def high_water(self) -> int:
        """Above so many queued bytes `write` returns False."""
        return self._out.high_water

    @property
    def congestion(self) -> CongestionControl:
        return self._out.congestion

    @property
    def rtt(self) -> RttEstimator:
        return self._out.rtt

    @property
    def flight(self) -> Flight:
        """For statistics: inflight, delivered, lost, retransmitted."""
        return self._out.flight

    @property
    def timeouts(self) -> int:
        return self._out.timeouts

    @property
    def mtu(self) -> int:
        """Largest IP packet that is known to pass."""
        return self._out.mtu.size

    def connect(self, remote_id: int, remote: Address, now: float, rtt: float = 0.0) -> None:
        """Both ids and the address come from the handshake; there is no set-up packet.

        `rtt`: the round trip as the handshake saw it, in seconds, so that a loss right at the start is found sooner.
        """
        self.remote_id = remote_id
        self.remote = remote
        self._now = now
        self._out.overhead = overhead(remote)
        self._out.start(now, rtt)
        self._touch(now)

    def change_remote(self, remote: Address, now: float, remote_id: int | None = None, port: int | None = None) -> None:
        """Another path to the same peer (the owner decided): everything new goes there from now on.

        What is in flight is repeated on the old path, which has carried it so far, and moves over only when it times
        out there (libudx leaves it there for good).  Congestion control, round trip and MTU begin anew.
        """
        before = self._path
        if before is None:
            raise ValueError("the stream is not connected")
        after = Path(
            remote, before.remote_id if remote_id is None else remote_id, before.port if port is None else port
        )
        if before == after:
            return
        if self.flight.packets:
            self._old_paths.keep(self.flight.path, before, self.flight.next)
        self.remote, self.remote_id, self.port = after
        self._out.new_path(now, overhead(remote))
        self._events.append(RemoteChanged(remote))

    def follow(self, remote: Address, port: int) -> None:
        """The peer is heard from another address, to our `port`: from now on everything goes there."""
        if remote != self.remote:
            self._follow(remote)
        self.port = port

    def forget_old_paths(self) -> None:
        """They are about to vanish: what is still in flight on them is repeated on the present one."""
        self._old_paths.clear()

    def probe_now(self) -> None:
        """What was sent and not acknowledged may have met no path yet, and now there is one: repeats its end at once.

        Without a round trip measured, the first loss would be found out by timers of half a second and more.
        """
        self._out.probe_now()

    def write(self, data: Buffer) -> bool:
        """Queues bytes.  False: above the high-water mark, wait for Drained.  Raises ValueError after `end`."""
        if self._out.ending:
            raise ValueError("write after end")
        return self._closed is None and self._out.write(data)

    def end(self) -> None:
        """Nothing more will be written; what was goes out first."""
        self._out.ending = True

    def destroy(self) -> None:
        """Closes now: what is queued is dropped, the other side is told once (and again if it goes on sending)."""
        if self._closed is not None:
            return
        if self.remote_id is None:
            self._close(Reason.DESTROYED, linger=False)
            return
        self._destroy_seq = self.flight.next
        self._close(Reason.DESTROYED, linger=True)
        self._ack_due = True

    def send_message(self, data: Buffer) -> None:
        """One unreliable datagram, at most `max_message` bytes; dropped when too many wait.  Raises ValueError."""
        if len(data) > self.max_message:
            raise ValueError("message longer than a packet")
        if self._closed is None and len(self._messages) < _MAX_MESSAGES:
            self._messages.append(bytes(data))

    @property
    def max_message(self) -> int:
        return self._out.payload

    def set_buffered(self, size: int) -> None:
        """How many delivered bytes the owner still holds: the advertised window shrinks by them."""
        self._buffered = size
        free = max(0, self._window - size)
        if self._advertised < self._window // 4 and free >= self._window // 2:
            self._ack_due = True  # tell at once: the sender may be waiting for the room

    def take_events(self) -> list[Event]:
        """What happened since the last call; all bytes that came in one Data, before the rest."""
        events, self._events = self._events, []
        if data := b"".join(self.take_pieces()):
            events.insert(0, Data(data))
        return events

    def take_pieces(self) -> list[bytes]:
        """What Data would bring, as it came, for those who join it with what they have.  Call before `take_events`."""
        pieces, self._pieces = self._pieces, []
        return pieces

    def next_wake(self) -> float:
        """When `wake` has something to do; inf = never."""
        if self._phase is _Phase.FINISHED:
            return inf
        if self._phase is _Phase.LINGERING:
            return self._linger_at
        return min(self._out.next_wake(), self._keepalive_at)

    # -- packets in ---------------------------------------------------------------------------------------------

    def receive(self, data: memoryview, source: Address, now: float) -> None:
        """One datagram that names our local id.  What is not a valid packet is counted in `refused`."""
        try:
            header = decode_header(data)
            self.receive_packet(header, data[HEADER_SIZE:], source, now)
        except DecodeError:
            self.refused += 1

    def receive_packet(self, header: Header, body: memoryview, source: Address, now: float) -> None:
        """`body` is what follows the 20 bytes; it is copied where it is kept.  Raises DecodeError."""
        if self._phase is _Phase.FINISHED or not self._admit(source):
            return
        self._now = now
        area, payload = split_body(header, body)
        self.packets_received += 1
        self.bytes_received += HEADER_SIZE + len(body)
        if self._phase is _Phase.LINGERING:
            self._hear_lingering(header)
            return
        self._touch(now)
        bits = header.bits
        if bits & HEARTBEAT:
            self._ack_due = True
            return
        seq = unwrap(header.seq, self._in.next)
        if bits & (DATA | END):
            self._ack_due = True
            if seq >= self._in.next:
                if bits & END:
                    self._in.finish(seq)
                self._deliver(self._in.add(seq, bytes(payload) if bits & DATA else b""))
        if bits & DESTROY and seq >= self._in.next:
            self._close(Reason.RESET, linger=False)
            return
        if bits & MESSAGE:
            self._events.append(Message(bytes(payload)))
        sacks = decode_sacks(area) if bits & SACK else ()
        self._acknowledged(header.ack, header.window, seq, sacks, now)

    def receive_run(self, columns: Columns, source: Address, now: float) -> None:
        """Packets of one size that came together, all plain DATA or all plain ACK.

        Only the highest acknowledgement is processed, which says all that the others said.
        """
        bits, _, windows, seqs, acks, payloads = columns
        if self._phase is not _Phase.OPEN:
            for at, payload in enumerate(payloads):
                header = Header(bits, 0, self.local_id, windows[at], seqs[at], acks[at])
                self.receive_packet(header, memoryview(payload), source, now)
            return
        if not self._admit(source):
            return
        self._now = now
        count = len(seqs)
        self.packets_received += count
        self.bytes_received += count * (HEADER_SIZE + len(payloads[0]))
        self._touch(now)
        first = unwrap(seqs[0], self._in.next)
        last = unwrap(seqs[-1], self._in.next)
        if bits == DATA:
            self._ack_due = True
            if last - first == count - 1 and seqs == tuple(range(seqs[0], seqs[0] + count)):
                self._deliver(self._in.add_run(first, payloads))
            else:
                for wire, payload in zip(seqs, payloads, strict=True):
                    self._deliver(self._in.add(unwrap(wire, self._in.next), payload))
        near = self.flight.first
        best = max(range(count), key=lambda at: unwrap(acks[at], near)) if acks[-1] != max(acks) else count - 1
        self._acknowledged(acks[best], windows[best], last, (), now)

    # -- time ---------------------------------------------------------------------------------------------------

    def wake(self, now: float) -> None:
        """Runs the timers that are due; then ask for events and packets."""
        self._now = now
        if self._phase is _Phase.LINGERING:
            if now >= self._linger_at:
                self._phase = _Phase.FINISHED
            return
        if self._phase is _Phase.FINISHED:
            return
        if not self._out.wake(now):
            self._close(Reason.TIMED_OUT, linger=False)
            return
        if now >= self._keepalive_at:
            self._out.heartbeat_due = True
            self._touch(now)

    # -- packets out --------------------------------------------------------------------------------------------

    def take_outgoing(self, now: float, budget: int = 1 << 20) -> list[Outgoing]:
        """Packets to send now: at most about `budget` bytes of data, as runs, and one acknowledgement.

        If the budget ran out, `next_wake` is now.
        """
        self._now = now
        if self.remote is None or self.remote_id is None or self._phase is _Phase.FINISHED:
            return []
        if self._phase is _Phase.LINGERING:
            return self._last_word()
        out: list[Outgoing] = []
        self._send_small(out)
        runs = self._out.take(now, budget)
        if self._ack_due and (not runs or self._in.gaps):
            ranges = self._in.ranges()
            self._emit(out, self._header(SACK if ranges else ACK, self.flight.next) + encode_sacks(ranges))
        for run in runs:
            self._emit_run(out, run)
        self._ack_due = False
        self._check_ended()
        return out

    # -- inner: receiving ---------------------------------------------------------------------------------------

    def _admit(self, source: Address) -> bool:
        if source == self.remote or self.adopt is None:
            return True
        verdict = self.adopt(source)
        if verdict and source != self.remote:  # the hook may have called connect or change_remote itself
            self._follow(source)
        return verdict is not False

    def _follow(self, source: Address) -> None:
        """The peer has moved: nothing is left to say at its old address.

        Where only its port changed (a router forgot its mapping) the path is the same one, and what is known of it
        still holds.
        """
        before, self.remote = self.remote, source
        self._old_paths.clear()
        if before is None or before[0] != source[0]:
            self._out.new_path(self._now, overhead(source))
        self._events.append(RemoteChanged(source))

    def _deliver(self, payloads: Sequence[bytes]) -> None:
        self._pieces += payloads if all(payloads) else filter(None, payloads)
        if self._in.ended and not self._end_told:
            self._end_told = True
            self._in.clear()
            self._events.append(End())

    def _hear_lingering(self, header: Header) -> None:
        """The other side missed our last word if it still sends something that wants an answer."""
        if self._closed is Reason.DESTROYED:
            wants = not header.bits & DESTROY
        else:
            wants = bool(header.bits & (DATA | END | HEARTBEAT))
        if wants and self._replies < _LINGER_REPLIES:
            self._replies += 1
            self._ack_due = True
            self._linger_at = self._now + max(_LINGER, 4 * self.rtt.rto)

    def _acknowledged(self, wire_ack: int, window: int, seq: int, sacks: Sequence[tuple[int, int]], now: float) -> None:
        if not self._out.acknowledged(wire_ack, window, seq, sacks, now):
            return
        if self._out.end_acked:
            self._ack_due = True  # a last packet, so that the other side surely has our acknowledgement of its end
        if self._out.take_drained():
            self._events.append(Drained())
        self._check_ended()

    def _touch(self, now: float) -> None:
        if self.keepalive > 0:
            self._keepalive_at = now + self.keepalive

    # -- inner: sending -----------------------------------------------------------------------------------------

    def _send_small(self, out: list[Outgoing]) -> None:
        if self._out.heartbeat_due:
            self._out.heartbeat_due = False
            self._emit(out, self._header(HEARTBEAT, self.flight.next))
        for message in self._messages:
            self._emit(out, self._header(MESSAGE, self.flight.next) + message)
        self._messages.clear()

    def _header(self, bits: int, seq: int) -> bytes:
        self._advertised = max(0, self._window - self._buffered - self._in.parked_bytes)
        return encode_header(bits, self.remote_id or 0, self._advertised, seq, self._in.next)

    def _emit(self, out: list[Outgoing], packet: bytes) -> None:
        if self.remote is not None:
            self.packets_sent += 1
            self.bytes_sent += len(packet)
            out.append(Outgoing(self.remote, packet, 0, self.port))
            self._touch(self._now)

    def _emit_run(self, out: list[Outgoing], run: Run) -> None:
        """Headers are made fresh at every sending: acknowledgement and window are the present ones."""
        path = self._path
        if run.path != self.flight.path and self._old_paths:
            path = self._old_paths.find(run.path, self.flight.first) or path
        if path is None:
            return
        count = run.end - run.start
        self._advertised = window = max(0, self._window - self._buffered - self._in.parked_bytes)
        if run.padding:
            bits = DATA | END if run.fin else DATA
            header = encode_header(bits, path.remote_id, window, run.start, self._in.next, run.padding)
            data = b"".join((header, bytes(run.padding), run.payload))
        else:
            bits = DATA
            if run.fin:
                bits = DATA | END if len(run.payload) > (count - 1) * run.size else END
            data = encode_run(path.remote_id, window, run.start, self._in.next, run.payload, run.size, bits)
        self.packets_sent += count
        self.bytes_sent += run.weight + run.padding
        self._touch(self._now)
        out.append(Outgoing(path.remote, data, run.size + HEADER_SIZE if count > 1 else 0, path.port))

    # -- inner: life --------------------------------------------------------------------------------------------

    @property
    def _path(self) -> Path | None:
        if self.remote is None or self.remote_id is None:
            return None
        return Path(self.remote, self.remote_id, self.port)

    def _check_ended(self) -> None:
        """Both ends acknowledged: ours by the other side, its by the packet that just left."""
        if self._closed is None and self._out.end_acked and self._in.ended and not self._ack_due:
            self._close(Reason.ENDED, linger=True)

    def _close(self, reason: Reason, *, linger: bool) -> None:
        self._closed = reason
        self._phase = _Phase.LINGERING if linger else _Phase.FINISHED
        self._linger_at = self._now + max(_LINGER, 4 * self.rtt.rto)
        self._out.clear()
        self._in.clear()
        self._messages.clear()
        self._old_paths.clear()
        self._events.append(Closed(reason))

    def _last_word(self) -> list[Outgoing]:
        if not self._ack_due:
            return []
        self._ack_due = False
        out: list[Outgoing] = []
        if self._closed is Reason.DESTROYED:
            self._emit(out, self._header(DESTROY, self._destroy_seq))
        else:
            self._emit(out, self._header(ACK, self.flight.next))
        return out
