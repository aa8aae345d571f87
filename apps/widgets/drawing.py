"""One message laid out: textures and boxes with their places, made once for a bubble, a width and a palette.

Plain textures in a canvas instead of widgets: a row of the timeline costs a dozen instructions, and its height is known
before it is shown, so that the list never jumps.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from kivy.core.text.markup import MarkupLabel
from kivy.metrics import dp, sp

from apps.viewmodels.bubbles import Bubble
from apps.widgets.colours import Colour, hex_of, shade_hex
from apps.widgets.fonts import icon, markup

STATES = {
    "queued": "clock-outline",
    "relayed": "check",
    "delivered": "check-all",
    "read": "check-all",
    "expired": "alert-circle-outline",
    "received": "",
}
WIDEST = 560
KEPT = 600


@dataclass(frozen=True, slots=True)
class Palette:
    """The colours of a timeline in one theme."""

    dark: bool
    background: Colour
    mine: Colour
    on_mine: Colour
    other: Colour
    on_other: Colour
    faint: Colour
    accent: Colour
    pill: Colour
    target: Colour


@dataclass(slots=True, eq=False)
class Piece:
    """A texture with its place from the row's lower left corner."""

    texture: Any
    x: float
    y: float


@dataclass(slots=True, eq=False)
class Box:
    """A rounded box behind pieces.  `name` says what a tap on it does; "": nothing."""

    x: float
    y: float
    width: float
    height: float
    colour: Colour
    radius: tuple[float, ...]
    name: str = ""

    def holds(self, x: float, y: float) -> bool:
        return self.x <= x <= self.x + self.width and self.y <= y <= self.y + self.height


@dataclass(slots=True, eq=False)
class Drawn:
    """A whole row, ready to draw."""

    height: float
    boxes: list[Box] = field(default_factory=list)
    pieces: list[Piece] = field(default_factory=list)


class Drawings:
    """A cache of the last `KEPT` layouts."""

    def __init__(self) -> None:
        self._made: OrderedDict[tuple[Bubble, int, bool, bool], Drawn] = OrderedDict()

    def of(self, bubble: Bubble, width: float, palette: Palette, target: bool) -> Drawn:
        key = (bubble, int(width), palette.dark, target)
        drawn = self._made.get(key)
        if drawn is None:
            drawn = self._made[key] = draw(bubble, float(int(width)), palette, target)
            if len(self._made) > KEPT:
                self._made.popitem(last=False)
        else:
            self._made.move_to_end(key)
        return drawn


def lay(text: str, size: float, colour: Colour, width: float | None = None, **options: Any) -> Any:
    """A rendered label of at most that width."""
    label = MarkupLabel(text=text, font_size=sp(size), color=colour, font_name="Roboto", line_height=1.1, **options)
    label.refresh()
    if width is not None and label.texture.width > width:
        label = MarkupLabel(
            text=text,
            font_size=sp(size),
            color=colour,
            font_name="Roboto",
            line_height=1.1,
            text_size=(width, None),
            **options,
        )
        label.refresh()
    return label


def last_line(label: Any) -> float:
    """The width of the last line of a text."""
    lines = label._cached_lines
    return float(lines[-1].w) if lines else 0.0


def lines_width(label: Any) -> float:
    """The width of the longest line; the texture of a wrapped text is wider."""
    return max((float(line.w) for line in label._cached_lines), default=0.0)


def draw(bubble: Bubble, width: float, palette: Palette, target: bool) -> Drawn:
    """Lays out everything from top to bottom, then turns it over, since Kivy counts from below.

    width: of the row, in pixels.  target: a search led here, so the row is highlighted.
    """
    pad_x, pad_y, edge = dp(12), dp(8), dp(12)
    room = min(width * 0.8, dp(WIDEST)) - 2 * pad_x
    ink = palette.on_mine if bubble.mine else palette.on_other
    faint = (*ink[:3], 0.66)
    top = dp(2) if bubble.joined else dp(7)
    drawn = Drawn(0)

    if bubble.day:
        label = lay(markup(bubble.day), 12, palette.faint)
        high, wide = label.texture.height + dp(8), label.texture.width + dp(24)
        left = (width - wide) / 2
        top += dp(8)
        drawn.boxes.append(Box(left, top, wide, high, palette.pill, (high / 2,)))
        drawn.pieces.append(Piece(label.texture, left + dp(12), top + dp(4)))
        top += high + dp(10)

    bubble_top = top
    inner = top + pad_y
    widest = 0.0
    placed: list[tuple[Any, float, float]] = []  # texture, x within the bubble, y from above

    if bubble.author:
        name = f"[color={shade_hex(bubble.shade, palette.dark)}]{markup(bubble.author)}[/color]"
        label = lay(name, 13, ink, room, bold=True)
        placed.append((label.texture, 0.0, inner))
        widest = max(widest, lines_width(label))
        inner += label.texture.height + dp(2)

    quote_box: tuple[float, float] | None = None
    if bubble.quote is not None:
        who = f"[b]{markup(bubble.quote.author)}[/b]\n" if bubble.quote.author else ""
        label = lay(who + markup(bubble.quote.text), 13, (*ink[:3], 0.8), room - dp(20))
        quote_box = (inner, label.texture.height + dp(10))
        placed.append((label.texture, dp(12), inner + dp(5)))
        widest = max(widest, lines_width(label) + dp(22))
        inner += label.texture.height + dp(16)

    for name in bubble.files:
        label = lay(f"{icon('paperclip')} {markup(name)}", 14, ink, room)
        placed.append((label.texture, 0.0, inner))
        widest = max(widest, lines_width(label))
        inner += label.texture.height + dp(2)

    text = f"[i]{markup(bubble.text)}[/i]" if bubble.deleted else markup(bubble.text)
    body = lay(text or " ", 16, faint if bubble.deleted else ink, room)
    placed.append((body.texture, 0.0, inner))
    widest = max(widest, lines_width(body))
    inner += body.texture.height

    end = last_line(body)
    more: tuple[float, float] | None = None
    if bubble.cut:
        label = lay("Read more", 14, palette.accent if not bubble.mine else ink, room, bold=True)
        more = (inner + dp(4), label.texture.height + dp(8))
        placed.append((label.texture, 0.0, inner + dp(8)))
        widest = max(widest, label.texture.width)
        inner += label.texture.height + dp(8)
        end = float(label.texture.width)

    meta = lay(_meta(bubble, palette), 12, faint)
    if meta.texture.width + dp(12) <= room - end:
        widest = max(widest, end + dp(12) + meta.texture.width)
        meta_top = inner - meta.texture.height - dp(1)
    else:
        widest = max(widest, meta.texture.width)
        meta_top = inner + dp(1)
        inner += meta.texture.height + dp(1)
    wide = min(widest, room) + 2 * pad_x
    high = inner - bubble_top + pad_y
    left = width - edge - wide if bubble.mine else edge

    tight = dp(5)
    soft = dp(16)
    corners = (
        (soft, tight if bubble.joined else soft, tight, soft)
        if bubble.mine
        else (tight if bubble.joined else soft, soft, soft, tight)
    )
    ground = palette.mine if bubble.mine else palette.other
    if target:
        drawn.boxes.append(Box(0, bubble_top - dp(3), width, high + dp(6), palette.target, (0,)))
    drawn.boxes.append(Box(left, bubble_top, wide, high, ground, corners, "bubble"))
    if quote_box is not None:
        drawn.boxes.append(
            Box(left + pad_x, quote_box[0], wide - 2 * pad_x, quote_box[1], (*ink[:3], 0.09), (dp(6),), "quote")
        )
        drawn.boxes.append(Box(left + pad_x, quote_box[0], dp(3), quote_box[1], palette.accent, (dp(1.5),)))
    if more is not None:
        drawn.boxes.append(Box(left, more[0], wide, more[1], (0, 0, 0, 0), (0,), "more"))
    drawn.pieces += [Piece(texture, left + pad_x + x, y) for texture, x, y in placed]
    drawn.pieces.append(Piece(meta.texture, left + wide - pad_x - meta.texture.width, meta_top))
    bottom = bubble_top + high

    if bubble.reactions:
        bottom = _reactions(bubble, drawn, palette, left, wide, bottom - dp(6), width)
    drawn.height = bottom + dp(2)
    for box in drawn.boxes:
        box.y = drawn.height - box.y - box.height
    for piece in drawn.pieces:
        piece.x, piece.y = round(piece.x), round(drawn.height - piece.y - piece.texture.height)
    return drawn


def _meta(bubble: Bubble, palette: Palette) -> str:
    note = f"{markup(bubble.note)}  " if bubble.note else ""
    symbol = STATES[bubble.state] if bubble.mine and not bubble.deleted else ""
    drawn = icon(symbol) if symbol else ""
    if bubble.state == "read":
        drawn = f"[color={hex_of(palette.accent)}]{drawn}[/color]"
    return f"{note}{bubble.time}" + (f" [size={int(sp(15))}]{drawn}[/size]" if drawn else "")


def _reactions(
    bubble: Bubble, drawn: Drawn, palette: Palette, left: float, wide: float, top: float, width: float
) -> float:
    """Pills over the lower edge of the bubble; the new bottom."""
    pills: list[tuple[Any, float, str, bool]] = []
    for reaction in bubble.reactions:
        count = f" {reaction.count}" if reaction.count > 1 else ""
        label = lay(f"{markup(reaction.emoji)}{count}", 13, palette.on_mine if reaction.mine else palette.on_other)
        pills.append((label.texture, label.texture.width + dp(16), reaction.emoji, reaction.mine))
    total = sum(pill[1] for pill in pills) + dp(4) * (len(pills) - 1)
    at = left + wide - total - dp(10) if bubble.mine else left + dp(10)
    at = max(dp(8), min(at, width - total - dp(8)))
    high = max(pill[0].height for pill in pills) + dp(6)
    for texture, pill_width, emoji, mine in pills:
        colour = palette.pill if not mine else palette.mine
        drawn.boxes.append(Box(at - dp(2), top - dp(2), pill_width + dp(4), high + dp(4), palette.background, (high,)))
        drawn.boxes.append(Box(at, top, pill_width, high, colour, (high / 2,), f"react:{emoji}"))
        drawn.pieces.append(Piece(texture, at + dp(8), top + dp(3)))
        at += pill_width + dp(4)
    return float(top + high)
