"""One UDX stream: a sans-IO core that its owner feeds with packets and time, and asks for packets and events.

How an owner drives it (as the endpoint does; `intake.dispatch` performs the first line for whole batches):

    stream.receive(data, source, now)             for every datagram that names the stream's local id
    stream.write(data); stream.end(); ...         at any time
    for event in stream.take_effects(): ...        after any of these
    shell.send_batch(stream.take_outgoing(now))   after any of these, once a tick: one acknowledgement for all of it
    loop.call_at(stream.next_wake(), ...)         then stream.wake(now), take_effects, take_outgoing again

After `Closed` the owner keeps routing packets and waking until `finished`: the stream answers packets that the peer
repeats because our last one was lost.  It may be forgotten earlier, but the peer may then see a timeout.

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
from netstack.udx.events import Closed, CloseReason, Data, Drained, End, Event, Message, RemoteChanged
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
_LINGER = 12.0  # seconds, about as long as the peer goes on repeating
_LINGER_REPLIES = 16
_MAX_MESSAGES = 64


class _Phase(Enum):
    OPEN = auto()
    LINGERING = auto()  # closed for the owner; repeats its final packet when the peer repeats its own
    FINISHED = auto()


class UdxStream:
    """One reliable ordered stream of bytes each way.

    `local_id`: the id in packets to us, chosen at random; `connect` sets the peer's.  `congestion`: BBR if None.
    `receive_window`: bytes that the peer may have in flight.  `keepalive`: seconds of silence after which a heartbeat
    is sent, 0.0 for never.

    `adopt(source)` decides about packets from an address other than the remote's, or from any address before `connect`:
    True makes it the remote from now on (event RemoteChanged), None takes the packet only, False drops it.  Without the
    hook packets are taken from any address and the remote stays, as in the C library.  Headers are not authenticated: a
    hook that always returns True lets anyone who saw the id take over the stream.
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
        self.port = SERVER  # the port of its owner to send from; it receives on any
        self.adopt = adopt
        self.keepalive = keepalive  # seconds; see the class
        self.packets_sent = 0
        self.bytes_sent = 0
        self.packets_received = 0
        self.bytes_received = 0
        self.refused = 0  # how many packets were invalid
        self._phase = _Phase.OPEN
        self._closed: CloseReason | None = None
        self._events: list[Event] = []
        self._pieces: list[bytes] = []  # received in order, not taken yet
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
        """Whether `connect` was called."""
        return self.remote_id is not None

    @property
    def closed(self) -> CloseReason | None:
        """Why the stream is closed, None while it is open."""
        return self._closed

    @property
    def finished(self) -> bool:
        """Whether the owner may forget the stream: it sends and answers nothing more."""
        return self._phase is _Phase.FINISHED

    @property
    def queued(self) -> int:
        """Bytes written and not yet acknowledged."""
        return self._out.queued

    @property
    def high_water(self) -> int:
        """Queued bytes above which `write` returns False."""
        return self._out.high_water

    @property
    def congestion(self) -> CongestionControl:
        """The congestion control of our direction."""
        return self._out.congestion

    @property
    def rtt(self) -> RttEstimator:
        """The round-trip times of the present path."""
        return self._out.rtt

    @property
    def flight(self) -> Flight:
        """Packets in flight, with counts of delivered, lost and retransmitted ones."""
        return self._out.flight

    @property
    def timeouts(self) -> int:
        """How many retransmission timeouts expired."""
        return self._out.timeouts

    @property
    def mtu(self) -> int:
        """The largest IP packet known to pass, in bytes."""
        return self._out.mtu.size

    def connect(self, remote_id: int, remote: Address, now: float, rtt: float = 0.0) -> None:
        """Sets the peer's id and address, which the handshake agreed on; there is no set-up packet.

        `rtt`: the round trip that the handshake measured in seconds, 0.0 for none; it speeds up the first repetition.
        """
        self.remote_id = remote_id
        self.remote = remote
        self._now = now
        self._out.overhead = overhead(remote)
        self._out.start(now, rtt)
        self._touch(now)

    def change_remote(self, remote: Address, now: float, remote_id: int | None = None, port: int | None = None) -> None:
        """Moves to another path to the same peer: every new packet takes it from now on.  Raises ValueError unless
        connected.

        Packets in flight are repeated on the old path, which has carried them so far, and move only when they time out
        there (libudx leaves them there for good).  Congestion control, round trip and MTU begin anew.
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
        """The peer was heard from another address on our `port`: all packets go there from now on."""
        if remote != self.remote:
            self._follow(remote)
        self.port = port

    def forget_old_paths(self) -> None:
        """Older paths are about to fail: packets in flight on them are repeated on the present one."""
        self._old_paths.clear()

    def probe_now(self) -> None:
        """A path exists only now: repeats the last packet at once, since earlier copies may be lost.

        Before the first round trip is measured, timers would detect that after half a second or more.
        """
        self._out.probe_now()

    def write(self, data: Buffer) -> bool:
        """Queues bytes; False: above the high-water mark, wait for Drained.  Raises ValueError after `end`."""
        if self._out.ending:
            raise ValueError("write after end")
        return self._closed is None and self._out.write(data)

    def end(self) -> None:
        """Ends our direction after what was written."""
        self._out.ending = True

    def destroy(self) -> None:
        """Closes now: drops the queue, tells the peer once, and again if it goes on sending."""
        if self._closed is not None:
            return
        if self.remote_id is None:
            self._close(CloseReason.DESTROYED, linger=False)
            return
        self._destroy_seq = self.flight.next
        self._close(CloseReason.DESTROYED, linger=True)
        self._ack_due = True

    def send_message(self, data: Buffer) -> None:
        """Queues an unreliable datagram; dropped if too many wait.  Raises ValueError above `max_message` bytes."""
        if len(data) > self.max_message:
            raise ValueError("message longer than a packet")
        if self._closed is None and len(self._messages) < _MAX_MESSAGES:
            self._messages.append(bytes(data))

    @property
    def max_message(self) -> int:
        """Bytes of the longest unreliable datagram at present."""
        return self._out.payload

    def set_buffered(self, size: int) -> None:
        """How many delivered bytes the owner has not consumed: the advertised window shrinks by them."""
        self._buffered = size
        free = max(0, self._window - size)
        if self._advertised < self._window // 4 and free >= self._window // 2:
            self._ack_due = True  # at once: the sender may be waiting for room

    def take_effects(self) -> list[Event]:
        """The events since the last call: first one Data with all bytes received, then the others in order."""
        events, self._events = self._events, []
        if data := b"".join(self.take_pieces()):
            events.insert(0, Data(data))
        return events

    def take_pieces(self) -> list[bytes]:
        """The bytes of Data in the pieces received, for owners that join them later.  Call before `take_effects`."""
        pieces, self._pieces = self._pieces, []
        return pieces

    def next_wake(self) -> float:
        """When `wake` is due, in seconds of the same clock; math.inf: never."""
        if self._phase is _Phase.FINISHED:
            return inf
        if self._phase is _Phase.LINGERING:
            return self._linger_at
        return min(self._out.next_wake(), self._keepalive_at)

    # -- packets in ---------------------------------------------------------------------------------------------

    def receive(self, data: memoryview, source: Address, now: float) -> None:
        """Takes a datagram with our local id; an invalid one is counted in `refused`."""
        try:
            header = decode_header(data)
            self.receive_packet(header, data[HEADER_SIZE:], source, now)
        except DecodeError:
            self.refused += 1

    def receive_packet(self, header: Header, body: memoryview, source: Address, now: float) -> None:
        """As `receive`, with the header decoded; `body` follows the 20 bytes and is copied.  Raises DecodeError."""
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
            self._close(CloseReason.RESET, linger=False)
            return
        if bits & MESSAGE:
            self._events.append(Message(bytes(payload)))
        sacks = decode_sacks(area) if bits & SACK else ()
        self._acknowledged(header.ack, header.window, seq, sacks, now)

    def receive_run(self, columns: Columns, source: Address, now: float) -> None:
        """Takes packets of one size that arrived together, all plain DATA or all plain ACK.

        Only the highest acknowledgement is processed, since it covers the others.
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
        """Runs the timers that are due; ask for events and packets afterwards."""
        self._now = now
        if self._phase is _Phase.LINGERING:
            if now >= self._linger_at:
                self._phase = _Phase.FINISHED
            return
        if self._phase is _Phase.FINISHED:
            return
        if not self._out.wake(now):
            self._close(CloseReason.TIMED_OUT, linger=False)
            return
        if now >= self._keepalive_at:
            self._out.heartbeat_due = True
            self._touch(now)

    # -- packets out --------------------------------------------------------------------------------------------

    def take_outgoing(self, now: float, budget: int = 1 << 20) -> list[Outgoing]:
        """The packets to send now: at most about `budget` bytes of data, as runs, and one acknowledgement.

        Where the budget was used up, `next_wake` is `now`.
        """
        self._now = now
        if self.remote is None or self.remote_id is None or self._phase is _Phase.FINISHED:
            return []
        if self._phase is _Phase.LINGERING:
            return self._final_packet()
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
        """Sends to a moved peer's new address alone.

        Where only its port changed, because a router forgot its mapping, the path is the same and its estimates still
        apply.
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
        """Repeats our final packet if the peer still sends something that has to be answered: it missed it."""
        if self._closed is CloseReason.DESTROYED:
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
            self._ack_due = True  # one more packet, so that the peer has our acknowledgement of its end
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
        """Headers are written at every sending, with the present acknowledgement and window."""
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
        """Closes once both ends are acknowledged: ours by the peer, the peer's by the packet just sent."""
        if self._closed is None and self._out.end_acked and self._in.ended and not self._ack_due:
            self._close(CloseReason.ENDED, linger=True)

    def _close(self, reason: CloseReason, *, linger: bool) -> None:
        self._closed = reason
        self._phase = _Phase.LINGERING if linger else _Phase.FINISHED
        self._linger_at = self._now + max(_LINGER, 4 * self.rtt.rto)
        self._out.clear()
        self._in.clear()
        self._messages.clear()
        self._old_paths.clear()
        self._events.append(Closed(reason))

    def _final_packet(self) -> list[Outgoing]:
        if not self._ack_due:
            return []
        self._ack_due = False
        out: list[Outgoing] = []
        if self._closed is CloseReason.DESTROYED:
            self._emit(out, self._header(DESTROY, self._destroy_seq))
        else:
            self._emit(out, self._header(ACK, self.flight.next))
        return out
