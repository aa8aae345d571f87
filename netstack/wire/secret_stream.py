"""The secret stream: frames and encryption over one ordered byte stream, after a Noise handshake.  Sans-IO.

`docs/protocol.md`, "Secret stream".  Every frame is a 3-byte little-endian length and that many bytes.  The first one
each way is a header: 32 bytes that prove knowledge of the handshake hash, then the 24 bytes that start libsodium's
secretstream.  The others are its messages.  Their order is part of the encryption: a frame that is lost, repeated or
reordered does not decrypt.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

from identity.errors import DecodeError
from identity.keys import Random
from netstack.namespaces import STREAM_INITIATOR, STREAM_RESPONDER
from netstack.udx.packet import Buffer
from netstack.wire.stream_cipher import OVERHEAD, PREFIX, pull, push, start

LENGTH = PREFIX
ID = 32
HEADER = 24
OPENING = ID + HEADER
MAX_FRAME = 2**24 - 1 - OVERHEAD  # bytes of plaintext that the length field can carry
DEFAULT_CAP = 512 * 1024
MAX_PARTS = 1024  # pieces of a frame held before they are joined: one object a byte would cost too much


def stream_id(handshake_hash: bytes, *, initiator: bool) -> bytes:
    """What that side sends first: 32 bytes that follow from the handshake hash, known to its two sides alone."""
    role = STREAM_INITIATOR if initiator else STREAM_RESPONDER
    return blake2b(role, digest_size=ID, key=handshake_hash).digest()


class SecretStream:
    """Both directions of one encrypted connection, without I/O.

    `keys` are (to send under, to receive under), 32 bytes each.  `cap` bounds the plaintext of a frame from the peer,
    and thereby the memory that a false length can take.  `rng(size)` is called once, for our header.  Raises ValueError
    for a cap above `MAX_FRAME`.
    """

    __slots__ = (
        "_buffered",
        "_cap",
        "_expected",
        "_missing",
        "_parts",
        "_pull",
        "_push",
        "_receive_key",
        "opened",
        "opening",
    )

    def __init__(
        self, *, initiator: bool, handshake_hash: bytes, keys: tuple[bytes, bytes], rng: Random, cap: int = DEFAULT_CAP
    ) -> None:
        if not 0 <= cap <= MAX_FRAME:
            raise ValueError("the frame cap is beyond what the length field can carry")
        send_key, self._receive_key = keys
        header = rng(HEADER)
        self._push = start(header, send_key)
        self._pull: Any = None  # until the peer's header arrives
        opening = stream_id(handshake_hash, initiator=initiator) + header
        self.opening = len(opening).to_bytes(LENGTH, "little") + opening  # the first bytes to send
        self.opened = False  # whether the peer's opening has arrived
        self._expected = stream_id(handshake_hash, initiator=not initiator)
        self._cap = cap
        self._parts: list[Buffer] = []  # of a frame that is not complete yet
        self._buffered = 0
        self._missing = LENGTH  # bytes until the parts can hold a whole frame

    @property
    def buffered(self) -> int:
        """Bytes held of a frame that is not complete; at most the cap and one batch."""
        return self._buffered

    def seal(self, frame: bytes) -> bytes | bytearray:
        """The bytes to send for one frame; an empty one is a keep-alive.  Raises ValueError above `MAX_FRAME` bytes."""
        if len(frame) > MAX_FRAME:
            raise ValueError("frame is too long")
        return push(self._push, frame)

    def receive(self, chunks: Iterable[Buffer]) -> list[bytes]:
        """The frames that these bytes complete, in order, empty ones included.

        Raises DecodeError for a wrong opening, a length that no frame may have, or a frame that does not open; the
        stream is of no use after that.
        """
        parts = self._parts
        before = len(parts)
        parts.extend(chunks)
        self._buffered += sum(map(len, parts[before:]))
        if self._buffered < self._missing:
            if len(parts) > MAX_PARTS:
                parts[:] = [b"".join(parts)]
            return []
        data = memoryview(parts[0] if len(parts) == 1 else b"".join(parts))
        frames: list[bytes] = []
        at, end = 0, len(data)
        state, limit = self._pull, self._cap + OVERHEAD
        self._missing = LENGTH
        while end - at >= LENGTH:
            length = data[at] | data[at + 1] << 8 | data[at + 2] << 16
            # checked before the bytes are awaited: a false length must cost nothing
            if state is None:
                if length != OPENING:
                    raise DecodeError("a secret stream opens with 56 bytes")
            elif length > limit:
                raise DecodeError("frame is longer than agreed")
            elif length < OVERHEAD:
                raise DecodeError("frame is shorter than an empty one")
            stop = at + LENGTH + length
            if stop > end:
                self._missing = LENGTH + length
                break
            if state is not None:
                frame = pull(state, data[at + LENGTH : stop])
                if frame is None:
                    raise DecodeError("frame does not open")
                frames.append(frame)
            else:
                state = self._open(bytes(data[at + LENGTH : stop]))
            at = stop
        self._parts = [bytes(data[at:])] if at < end else []
        self._buffered = end - at
        return frames

    def _open(self, opening: bytes) -> Any:
        if opening[:ID] != self._expected:
            raise DecodeError("the opening belongs to another handshake")
        self._pull = start(opening[ID:], self._receive_key)
        self.opened = True
        return self._pull
