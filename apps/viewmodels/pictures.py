"""QR codes: drawn as modules, read from picture files; and the pictures in a folder, to choose one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import segno

from sync.service.api import KithkinError

MAX_PICTURE = 32 * 1024 * 1024
MAX_PIXELS = 50_000_000
MAX_LISTED = 500
SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif"))
SCHEME = "kithkin:"


def modules(text: str) -> tuple[tuple[bool, ...], ...]:
    """The dark modules of a QR code, rows from the top, without a quiet zone.

    Upper case keeps the code in its alphanumeric mode and so a third smaller; our texts are read in any case.
    """
    code = segno.make(text.upper(), error="m", micro=False)
    return tuple(tuple(bool(module) for module in row) for row in code.matrix_iter(border=0))


def read_picture(path: Path) -> str:
    """The one text of ours in a picture.  Raises KithkinError `not_found`, `payload_damaged`.  Slow: not in a loop."""
    # Late: both are large, and most starts of a window read no picture.
    import zxingcpp
    from PIL import Image, UnidentifiedImageError

    try:
        if path.stat().st_size > MAX_PICTURE:
            raise KithkinError("payload_damaged", "That picture is larger than 32 MiB.")
        with Image.open(path) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise KithkinError("payload_damaged", "That picture has more than 50 million pixels.")
            found = zxingcpp.read_barcodes(
                opened.convert("L"), formats=zxingcpp.BarcodeFormats(zxingcpp.BarcodeFormat.QRCode)
            )
    except FileNotFoundError:
        raise KithkinError("not_found", "There is no such file.") from None
    except UnidentifiedImageError:
        raise KithkinError("payload_damaged", "That file is no picture.") from None
    except Image.DecompressionBombError:
        raise KithkinError("payload_damaged", "That picture has more than 50 million pixels.") from None
    except (OSError, ValueError, SyntaxError) as error:
        raise KithkinError("payload_damaged", "That picture cannot be read.") from error
    texts = [code.text for code in found]
    ours = [text for text in texts if text.lower().startswith(SCHEME)]
    if not ours:
        seen = "a QR code, but not one of Kithkin" if texts else "no QR code"
        raise KithkinError("not_found", f"There is {seen} in that picture.")
    return ours[0]


@dataclass(frozen=True, slots=True)
class Entry:
    name: str
    path: Path
    folder: bool


def pictures_in(folder: Path) -> tuple[Entry, ...]:
    """The way up, folders, and pictures (the newest first).  What cannot be read is empty."""
    above = (Entry("..", folder.parent, True),) if folder.parent != folder else ()
    try:
        children = [child for child in folder.iterdir() if not child.name.startswith(".")][: MAX_LISTED * 4]
        folders = sorted((child for child in children if child.is_dir()), key=lambda child: child.name.casefold())
        files = [child for child in children if child.suffix.lower() in SUFFIXES and child.is_file()]
        files.sort(key=lambda child: -child.stat().st_mtime)
    except OSError:
        return above
    listed = [Entry(child.name, child, True) for child in folders] + [Entry(c.name, c, False) for c in files]
    return above + tuple(listed[:MAX_LISTED])
