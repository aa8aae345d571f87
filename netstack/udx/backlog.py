"""Data written and not yet sent: a queue of buffers from which contiguous pieces are taken.

Large writes go out as views of the caller's buffer; only where a piece spans two writes is it copied together.
"""

from __future__ import annotations

from collections import deque

from netstack.udx.packet import Buffer


class Backlog:
    """A queue of `size` bytes."""

    __slots__ = ("_chunks", "size")

    def __init__(self) -> None:
        self._chunks: deque[memoryview] = deque()
        self.size = 0

    def append(self, data: Buffer) -> None:
        """Queues a buffer, which must not change until its bytes are acknowledged."""
        view = memoryview(data)
        if view.ndim != 1 or view.itemsize != 1 or view.format != "B":
            view = view.cast("B")
        if view.nbytes:
            self._chunks.append(view)
            self.size += view.nbytes

    def take(self, size: int) -> memoryview:
        """Takes the next `size` bytes, or all if fewer wait, as one contiguous piece."""
        chunks = self._chunks
        size = min(size, self.size)
        self.size -= size
        if not size:
            return memoryview(b"")
        head = chunks[0]
        if len(head) > size:
            chunks[0] = head[size:]
            return head[:size]
        if len(head) == size:
            return chunks.popleft()
        pieces = []
        while size:
            head = chunks[0]
            if len(head) <= size:
                pieces.append(chunks.popleft())
                size -= len(head)
            else:
                pieces.append(head[:size])
                chunks[0] = head[size:]
                break
        return memoryview(b"".join(pieces))

    def clear(self) -> None:
        """Drops everything."""
        self._chunks.clear()
        self.size = 0
