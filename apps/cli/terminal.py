"""The person's end of a command: what is typed, pasted or piped in, and the QR code drawn for another device.

Standard input is read once, bounded, as UTF-8.  Lines are awaited in a thread of their own, which ends with whoever
waits for them.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from apps.cli.streams import is_terminal
from sync.service.api import KithkinError

MAX_INPUT = 1024 * 1024
PASSPHRASE_FILE = "KITHKIN_PASSPHRASE_FILE"
BACKUP_PASSPHRASE_FILE = "KITHKIN_BACKUP_PASSPHRASE_FILE"
_MAX_PASSPHRASE = 4096
_MAX_LINE = 1024


def interactive() -> bool:
    """Whether a person can be asked."""
    return is_terminal(sys.stdin)


def standard_input() -> str:
    """All of standard input without one final line end.  Raises `text_too_long`, `text_invalid`."""
    try:
        data = sys.stdin.buffer.read(MAX_INPUT + 1) if sys.stdin is not None else b""
    except OSError as error:
        raise KithkinError("system_refused", f"Standard input cannot be read: {error.strerror}.") from None
    if len(data) > MAX_INPUT:
        raise KithkinError("text_too_long", "Standard input holds more than 1 MiB.")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise KithkinError("text_invalid", "Standard input is not UTF-8.") from None
    return text.removesuffix("\n").removesuffix("\r")


class Lines:
    """Lines of standard input, awaitable; None at its end.  `with Lines() as lines:`; after that nothing is read."""

    def __init__(self) -> None:
        # What only some commands use is imported where it is used: most end before it would be loaded.
        import asyncio
        import threading

        self._loop = asyncio.get_running_loop()
        self._lines: asyncio.Queue[str | None] = asyncio.Queue()
        # Taken now: what stands in `sys.stdin` later is for somebody else.
        self._source = sys.stdin.buffer if sys.stdin is not None else None
        self._left, self._leave = os.pipe()
        self._thread = threading.Thread(target=self._read, daemon=True, name="standard input")

    def __enter__(self) -> Lines:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._leave)  # the thread sees the end of that pipe
        self._thread.join()
        os.close(self._left)

    async def next(self) -> str | None:
        return await self._lines.get()

    def _read(self) -> None:
        for line in self._pieces():
            self._tell(line)
        self._tell(None)

    def _pieces(self) -> Iterator[str]:
        rest = b""
        while piece := self._read_some():
            *lines, rest = (rest + piece).split(b"\n")
            yield from (line.decode(errors="replace").strip() for line in lines)
            rest = rest[-_MAX_LINE:]
        if rest:
            yield rest.decode(errors="replace").strip()

    def _read_some(self) -> bytes:
        """Straight from the descriptor, once it has something: a thread that waits inside the buffered reader holds its
        lock, and nothing can take that read back.  Empty at the end of either."""
        import select

        if self._source is None:
            return b""
        try:
            descriptor = self._source.fileno()
        except (OSError, ValueError):
            return self._source.read(_MAX_LINE)  # no descriptor, so nothing to wait for
        try:
            ready, _, _ = select.select([descriptor, self._left], [], [])
            return b"" if self._left in ready else os.read(descriptor, _MAX_LINE)
        except (OSError, ValueError):
            return b""  # nothing can be read there: as good as its end

    def _tell(self, line: str | None) -> None:
        try:
            self._loop.call_soon_threadsafe(self._lines.put_nowait, line)
        except RuntimeError:
            return  # the loop has ended; nobody waits for lines any more


def passphrase_of(path: Path) -> str:
    """The passphrase in a file, without its line end.  Raises `no_passphrase`."""
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_PASSPHRASE + 1).decode().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise KithkinError("no_passphrase", f"The passphrase file {path} cannot be read.") from error
    if not text or len(text) > _MAX_PASSPHRASE:
        raise KithkinError("no_passphrase", f"The passphrase file {path} is empty or too long.")
    return text


def given_passphrase() -> str | None:
    """The passphrase that the environment names, None where it names none."""
    name = os.environ.get(PASSPHRASE_FILE)
    return passphrase_of(Path(name)) if name else None


def backup_passphrase(*, new: bool) -> str:
    """The passphrase of a backup: the environment names its file, else it is asked for.  Raises `no_passphrase`."""
    name = os.environ.get(BACKUP_PASSPHRASE_FILE)
    text = passphrase_of(Path(name)) if name else ask_passphrase(new=new, of=" of the backup")
    if text is None:
        raise KithkinError("no_passphrase", "A backup needs its own passphrase.")
    return text


def ask_passphrase(*, new: bool, of: str = "") -> str | None:
    """Asks on the terminal (twice for a new one); None where nobody can be asked."""
    if not interactive():
        return None
    import getpass

    with _interruptible():
        text = getpass.getpass(f"New passphrase{of}: " if new else f"Passphrase{of}: ")
        if new and text != getpass.getpass("Once more: "):
            raise KithkinError("no_passphrase", "The two passphrases differ.")
    return text or None


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt in the block.  The handler of `asyncio.run` only cancels the main task at the
    first Ctrl-C, which a prompt that blocks the loop never notices."""
    import signal

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def qr_lines(text: str, *, colour: bool) -> list[str]:
    """A QR code in half blocks, quiet zone included: black on white where colours may be set, else for a dark screen.

    Upper case keeps the code in its alphanumeric mode; the scheme is read in any case.
    """
    import segno

    matrix = [list(row) for row in segno.make(text.upper(), error="m", micro=False).matrix_iter(border=2)]
    if len(matrix) % 2:
        matrix.append([0] * len(matrix[0]))
    drawn = {(True, True): "█", (True, False): "▀", (False, True): "▄", (False, False): " "}
    before, after = ("\x1b[30;107m", "\x1b[0m") if colour else ("", "")
    return [
        before + "".join(drawn[bool(up) is colour, bool(low) is colour] for up, low in zip(*pair, strict=True)) + after
        for pair in zip(matrix[::2], matrix[1::2], strict=True)
    ]
