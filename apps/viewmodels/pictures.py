"""QR codes as modules to draw, QR codes read from picture files, and the pictures in a folder to choose from."""

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
    """The text of the first Kithkin QR code in a picture.  Raises KithkinError `not_found`, `payload_damaged`.

    It may take a second: call it in a thread.
    """
    # Imported here: both are large, and most windows read no picture.
    import zxingcpp
    from PIL import Image, UnidentifiedImageError

    try:
        if path.stat().st_size > MAX_PICTURE:
            raise KithkinError("payload_damaged", "This picture is larger than 32 MiB.")
        with Image.open(path) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise KithkinError("payload_damaged", "This picture has more than 50 million pixels.")
            found = zxingcpp.read_barcodes(
                opened.convert("L"), formats=zxingcpp.BarcodeFormats(zxingcpp.BarcodeFormat.QRCode)
            )
    except FileNotFoundError:
        raise KithkinError("not_found", "File not found.") from None
    except UnidentifiedImageError:
        raise KithkinError("payload_damaged", "This file is not a picture.") from None
    except Image.DecompressionBombError:
        raise KithkinError("payload_damaged", "This picture has more than 50 million pixels.") from None
    except (OSError, ValueError, SyntaxError) as error:
        raise KithkinError("payload_damaged", "This picture cannot be read.") from error
    texts = [code.text for code in found]
    ours = [text for text in texts if text.lower().startswith(SCHEME)]
    if not ours:
        raise KithkinError(
            "not_found",
            "The QR code in this picture is not from Kithkin." if texts else "No QR code was found in this picture.",
        )
    return ours[0]


@dataclass(frozen=True, slots=True)
class FolderEntry:
    """A picture or a folder, to choose.  The folder above has the name ".."."""

    name: str
    path: Path
    folder: bool


def pictures_in(folder: Path) -> tuple[FolderEntry, ...]:
    """The folder above, folders, and pictures (the newest first).  Nothing but the first where it cannot be read."""
    above = (FolderEntry("..", folder.parent, True),) if folder.parent != folder else ()
    try:
        children = [child for child in folder.iterdir() if not child.name.startswith(".")][: MAX_LISTED * 4]
        folders = sorted((child for child in children if child.is_dir()), key=lambda child: child.name.casefold())
        files = [child for child in children if child.suffix.lower() in SUFFIXES and child.is_file()]
        files.sort(key=lambda child: -child.stat().st_mtime)
    except OSError:
        return above
    listed = [FolderEntry(child.name, child, True) for child in folders] + [
        FolderEntry(c.name, c, False) for c in files
    ]
    return above + tuple(listed[:MAX_LISTED])
