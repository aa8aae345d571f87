"""What one endpoint holds and how long it waits.  Times in seconds, sizes in bytes."""

from __future__ import annotations

from dataclasses import dataclass

from netstack.wire.secret_stream import DEFAULT_CAP


@dataclass(frozen=True, slots=True)
class Limits:
    """The defaults suit a personal node; a test or a relay sets its own."""

    frame: int = DEFAULT_CAP  # plaintext of one frame from a peer; the protocol allows 16 MiB
    buffer: int = 32 << 20  # written and unacknowledged of one connection; more means that the peer does not read
    connections: int = 4096  # of all kinds, so that no stranger can make us hold more
    connections_host: int = 128  # of these, that one host may have with us of its own accord; not counted on loopback
    half_open: int = 256  # answered handshakes whose dialler has not shown itself yet
    half_open_host: int = 64  # of these, that one host may cause
    answers: int = 1024  # answers kept to be repeated
    answer_life: float = 10.0
    handshake_burst: int = 64  # handshakes that one host may start at once ...
    handshake_rate: float = 32.0  # ... and a second after that
    hosts: int = 4096  # hosts whose rate is remembered
    addresses: int = 8  # tried at once for one connection
    forgeries: int = 16  # answers that do not open before an attempt gives up
    connect: float = 10.0  # until an attempt fails, and until a half-open handshake is forgotten
    retry: float = 0.5  # until the first repetition of a handshake; it doubles
    keepalive: float = 5.0  # of silence on our side, then an empty frame
    dead: float = 20.0  # of silence on the peer's side, then the connection is over
    linger: float = 5.0  # that a closed connection may take to deliver what was written
