"""The messages of a chat: a recycled list whose rows know their heights, so that it stays where the reader is."""

from __future__ import annotations

from typing import Any

from kivy.effects.scroll import ScrollEffect
from kivy.graphics import Color, Rectangle, RoundedRectangle
from kivy.metrics import dp
from kivy.properties import ObjectProperty, StringProperty
from kivy.uix.recycleview import RecycleView
from kivy.uix.recycleview.views import RecycleDataViewBehavior
from kivy.uix.widget import Widget
from kivymd.app import MDApp

from apps.viewmodels.bubbles import Bubble
from apps.widgets.colours import Colour
from apps.widgets.drawing import Drawings, Drawn, Palette
from apps.widgets.view import load

load("timeline.kv")
NEAR_END = 48
NEAR_EDGE = 600


class MessageRow(RecycleDataViewBehavior, Widget):
    """One row of the list: draws a layout, and finds what in it was tapped."""

    spoken = StringProperty("")

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._drawn: Drawn | None = None
        self._bubble: Bubble | None = None
        self._timeline: Timeline | None = None
        self.bind(pos=self._place)

    def refresh_view_attrs(self, timeline: Timeline, index: int, data: dict[str, Any]) -> None:
        self._drawn, self._bubble, self._timeline = data["drawn"], data["bubble"], timeline
        self.spoken = data["bubble"].text
        self._place()

    def _place(self, *_: object) -> None:
        """Draws everything again: a row moves as a whole, so moving each part would cost as much."""
        self.canvas.clear()
        if self._drawn is None:
            return
        x, y = round(self.x), round(self.y)
        with self.canvas:
            for box in self._drawn.boxes:
                if box.colour[3]:
                    Color(*box.colour)
                    # Kivy wants the radii as numbers, or as four pairs.
                    RoundedRectangle(
                        pos=(x + box.x, y + box.y),
                        size=(box.width, box.height),
                        radius=[(r, r) for r in _four(box.radius)],
                    )
            Color(1, 1, 1, 1)
            for piece in self._drawn.pieces:
                Rectangle(texture=piece.texture, pos=(x + piece.x, y + piece.y), size=piece.texture.size)

    def on_touch_down(self, touch: Any) -> bool:
        if touch.is_mouse_scrolling or not self.collide_point(*touch.pos) or not self._tapped(touch):
            return False
        touch.grab(self)
        return True

    def on_touch_up(self, touch: Any) -> bool:
        if touch.grab_current is not self:
            return False
        touch.ungrab(self)
        name = self._tapped(touch)
        moved = abs(touch.x - touch.ox) + abs(touch.y - touch.oy) > dp(12)
        if name and not moved and self._timeline is not None and self._bubble is not None:
            self._timeline.dispatch("on_tapped", self._bubble, name)
        return True

    def _tapped(self, touch: Any) -> str:
        if self._drawn is None:
            return ""
        x, y = touch.x - self.x, touch.y - self.y
        return next((box.name for box in reversed(self._drawn.boxes) if box.name and box.holds(x, y)), "")


def _four(radius: tuple[float, ...]) -> tuple[float, ...]:
    return radius * 4 if len(radius) == 1 else radius


class Timeline(RecycleView):
    """`show` with every state.  Events: `on_tapped(bubble, what)`, `on_near_top`, `on_near_end`, `on_moved`."""

    __events__ = ("on_tapped", "on_near_top", "on_near_end", "on_moved")
    palette = ObjectProperty(None, allownone=True)

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.effect_cls = ScrollEffect
        self._drawings = Drawings()
        self._bubbles: tuple[Bubble, ...] = ()
        self._heights: list[float] = []
        self._target = ""
        self._fresh = True
        self._offset = 0.0  # pixels from the end of the messages to the lower edge of what is seen
        self._setting = False
        self.bind(scroll_y=self._scrolled, size=self._again)
        theme = MDApp.get_running_app().theme_cls
        theme.bind(theme_style=self._again)

    def on_tapped(self, bubble: Bubble, what: str) -> None:
        """Bound by the page."""

    def on_near_top(self) -> None:
        """Bound by the page."""

    def on_near_end(self) -> None:
        """Bound by the page."""

    def on_moved(self) -> None:
        """Bound by the page."""

    @property
    def at_end(self) -> bool:
        """Whether the newest bubble is (nearly) seen."""
        return bool(self._offset <= dp(NEAR_END))

    def show(self, bubbles: tuple[Bubble, ...], target: str) -> None:
        """Shows these bubbles.  The list stays at its end if it is there, else at the lowest message seen whole, and
        goes to a new target."""
        new_target = target and target != self._target
        if bubbles == self._bubbles and target == self._target and not self._fresh:
            return
        anchor = None if self._fresh or self.at_end or new_target else self._lowest()
        self._bubbles, self._target, self._fresh = bubbles, target, False
        self._fill()
        if new_target:
            at = next((at for at, bubble in enumerate(bubbles) if bubble.id == target), None)
            if at is not None:
                self._go(sum(self._heights[at + 1 :]) - (self.height - self._heights[at]) / 2)
        elif anchor is not None:
            name, above = anchor
            at = next((at for at, bubble in enumerate(bubbles) if bubble.id == name), None)
            self._go(sum(self._heights[at + 1 :]) - above if at is not None else self._offset)
        else:
            self._go(0)

    def to_end(self) -> None:
        """Scrolls to the newest bubble."""
        self._go(0)

    def _lowest(self) -> tuple[str, float] | None:
        """(id, distance of its lower edge from the lower edge of the list) of the lowest message that is seen whole."""
        below = 0.0
        for at in range(len(self._bubbles) - 1, -1, -1):
            if below >= self._offset:
                return self._bubbles[at].id, below - self._offset
            below += self._heights[at]
        return None

    def _fill(self) -> None:
        palette = current_palette()
        self.palette = palette
        drawings = [self._drawings.of(one, self.width, palette, one.id == self._target) for one in self._bubbles]
        self._heights = [drawn.height for drawn in drawings]
        self.ids.rows.padding = (0, max(dp(8), self.height - sum(self._heights) - dp(8)), 0, dp(8))
        self.data = [
            {"bubble": bubble, "drawn": drawn, "size": (self.width, drawn.height)}
            for bubble, drawn in zip(self._bubbles, drawings, strict=True)
        ]

    def _again(self, *_: object) -> None:
        """For another width or theme: all heights and textures change."""
        if self.width <= dp(120) or self._fresh:
            return
        end = self.at_end
        self._fill()
        self._go(0 if end else self._offset)

    def _extent(self) -> float:
        return float(sum(self._heights) + dp(16))

    def _go(self, offset: float) -> None:
        room = self._extent() - self.height
        self._offset = min(max(0.0, offset), max(0.0, room))
        self._setting = True
        self.scroll_y = self._offset / room if room > 0 else 0.0
        self._setting = False
        self.dispatch("on_moved")

    def _scrolled(self, *_: object) -> None:
        if self._setting:
            return
        room = self._extent() - self.height
        self._offset = max(0.0, self.scroll_y * room) if room > 0 else 0.0
        self.dispatch("on_moved")
        if room - self._offset < dp(NEAR_EDGE):
            self.dispatch("on_near_top")
        if self._offset < dp(NEAR_EDGE):
            self.dispatch("on_near_end")


def current_palette() -> Palette:
    theme = MDApp.get_running_app().theme_cls

    def of(name: str, alpha: float = 1.0) -> Colour:
        red, green, blue, _ = getattr(theme, name)
        return red, green, blue, alpha

    return Palette(
        dark=theme.theme_style == "Dark",
        background=of("backgroundColor"),
        mine=of("primaryContainerColor"),
        on_mine=of("onPrimaryContainerColor"),
        other=of("surfaceContainerHighColor"),
        on_other=of("onSurfaceColor"),
        faint=of("onSurfaceVariantColor"),
        accent=of("primaryColor"),
        pill=of("surfaceContainerHighestColor"),
        target=of("tertiaryColor", 0.16),
    )
