"""The small parts of screens: fields, buttons, bars, avatars, the QR code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kivy.clock import Clock
from kivy.core.window import Window
from kivy.graphics.texture import Texture
from kivy.metrics import dp, sp
from kivy.properties import (
    BooleanProperty,
    ColorProperty,
    NumericProperty,
    ObjectProperty,
    StringProperty,
)
from kivy.uix.behaviors import ButtonBehavior
from kivy.uix.boxlayout import BoxLayout
from kivy.uix.label import Label
from kivy.uix.modalview import ModalView
from kivy.uix.recycleview import RecycleView
from kivy.uix.widget import Widget
from kivymd.app import MDApp
from kivymd.uix.button import MDButton, MDIconButton
from kivymd.uix.textfield import MDTextField, MDTextFieldHintText

from apps.widgets.colours import shade_background, shade_colour
from apps.widgets.fonts import field_font, icon, markup
from apps.widgets.view import load

load("controls.kv")
WIDE = 700
QUIET = 4  # modules of light around a QR code


class Words(Label):
    """A wrapped text, as high as it needs to be.  `said` is shown as it is, markup in it included."""

    said = StringProperty("")

    def on_said(self, _: object, said: str) -> None:
        self.text = markup(said)


class OneLine(Label):
    """A text on one line, shortened to fit."""

    said = StringProperty("")

    def on_said(self, _: object, said: str) -> None:
        self.text = markup(said)


class Problem(Words):
    """Why something was refused; has no height while it is empty."""


class Hint(MDTextFieldHintText):
    """The name of a field, in it or on its edge."""


class Field(MDTextField):
    """An outlined field.  Enter calls `on_done`."""

    hint = StringProperty("")
    # Not `on_enter`: KivyMD means the pointer by that.
    __events__ = ("on_done",)

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.bind(text=self._fit_font)
        self.bind(on_text_validate=lambda _: self.dispatch("on_done"))

    def on_hint(self, _: object, hint: str) -> None:
        if self._hint_text_label is None:
            self.add_widget(Hint(text=hint))
        else:
            self._hint_text_label.text = hint

    def set_texture_color(self, texture: Any, canvas_group: Any, color: list[float], error: bool = False) -> None:
        # KivyMD sets the colour of the label and of the rectangle that draws it, which multiplies the two: a hint would
        # be as dark as typed text, and nearly black in a dark window.
        if texture is not self._hint_text_label:
            super().set_texture_color(texture, canvas_group, color, error)
            return
        canvas_group.rgba = color
        texture.color = (1, 1, 1, 1)
        texture.texture_update()
        drawn = self.canvas.after.get_group("hint-text-rectangle")[0]
        drawn.texture, drawn.size = texture.texture, texture.texture_size

    def on_done(self) -> None:
        """Bound by the page: Enter was pressed."""

    def _fit_font(self, _: object, text: str) -> None:
        # Kivy does nothing where it is the same as before.
        self.font_name = field_font(text)


class Action(MDButton):
    """A button with a text and perhaps an icon before it.  `busy` is only drawn: the view-model ignores a second press,
    because the window draws a state one frame late."""

    said = StringProperty("")
    busy = BooleanProperty(False)
    symbol = StringProperty("")
    words = StringProperty("")

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.fbind("said", self._write)
        self.fbind("symbol", self._write)
        self._write()

    def _write(self, *_: object) -> None:
        before = f"[size={int(sp(18))}]{icon(self.symbol)}[/size]   " if self.symbol else ""
        self.words = before + markup(self.said)


class Tool(MDIconButton):
    """A round button with an icon."""


class Avatar(Widget):
    """Letters or an icon on a disc in the colour of a person or chat."""

    letters = StringProperty("")
    symbol = StringProperty("")
    shade = NumericProperty(0)
    dark = BooleanProperty(False)
    background = ColorProperty((0, 0, 0, 0))
    ink = ColorProperty((0, 0, 0, 1))
    drawn = StringProperty("")

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        for name in ("letters", "symbol", "shade", "dark"):
            self.fbind(name, self._draw)
        self._draw()

    def _draw(self, *_: object) -> None:
        self.background = shade_background(self.shade, self.dark)
        self.ink = shade_colour(self.shade, self.dark)
        self.drawn = icon(self.symbol) if self.symbol else markup(self.letters, False)


class Bar(BoxLayout):
    """The top of a pane: back, a title and a line below it, tools on the right."""

    title = StringProperty("")
    subtitle = StringProperty("")
    can_go_back = BooleanProperty(True)
    __events__ = ("on_back", "on_tap")

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._back = Tool(icon="arrow-left")
        self._back.bind(on_release=lambda _: self.dispatch("on_back"))

    def on_kv_post(self, _: object) -> None:
        self.on_can_go_back(self, self.can_go_back)

    def on_can_go_back(self, _: object, can: bool) -> None:
        front = self.ids.get("front")
        if front is None:
            return  # its rule is still being applied
        if can and self._back.parent is None:
            front.add_widget(self._back, len(front.children))
        elif not can and self._back.parent is not None:
            front.remove_widget(self._back)

    def on_back(self) -> None:
        """Bound by the page."""

    def on_tap(self) -> None:
        """The title was tapped."""

    def tool(self, symbol: str, act: Callable[[], object]) -> Tool:
        made = Tool(icon=symbol)
        made.bind(on_release=lambda _: act())
        self.ids.tools.add_widget(made)
        return made


class Part(BoxLayout):
    """A part of a page that is hidden unless it is `wanted`; touches then go through it.  Its rule sets its height, 0
    where it is not wanted."""

    wanted = BooleanProperty(True)

    # Its children keep their sizes: even disabled, they would take every touch of what is below them.
    def on_touch_down(self, touch: Any) -> bool:
        return self.wanted and bool(super().on_touch_down(touch))

    def on_touch_move(self, touch: Any) -> bool:
        return self.wanted and bool(super().on_touch_move(touch))

    def on_touch_up(self, touch: Any) -> bool:
        return self.wanted and bool(super().on_touch_up(touch))


class TapBox(ButtonBehavior, BoxLayout):
    """A box that can be tapped, drawn darker while it is pressed."""

    chosen = BooleanProperty(False)


class Code(Widget):
    """A QR code, dark on light in both themes; a module is a whole number of pixels."""

    modules = ObjectProperty(())
    texture = ObjectProperty(None, allownone=True)
    side = NumericProperty(0)

    def on_modules(self, _: object, modules: tuple[tuple[bool, ...], ...]) -> None:
        if not modules:
            self.texture = None
            return
        size = len(modules) + 2 * QUIET
        texture = Texture.create(size=(size, size), colorfmt="luminance")
        texture.mag_filter = texture.min_filter = "nearest"
        light = bytes([255])
        edge = light * size * QUIET
        rows = b"".join(
            light * QUIET + bytes(0 if dark else 255 for dark in row) + light * QUIET for row in reversed(modules)
        )
        texture.blit_buffer(edge + rows + edge, colorfmt="luminance", bufferfmt="ubyte")
        self.texture = texture
        self._fit()

    def on_size(self, *_: object) -> None:
        self._fit()

    def _fit(self) -> None:
        if self.texture is not None:
            modules = self.texture.width
            self.side = max(1, int(min(self.width, self.height) // modules)) * modules


REACTIONS = ("👍", "❤", "😂", "😢", "🎉", "🔥")


class Sheet(ModalView):
    """A menu at the bottom, or in the middle of a wide window.  choices: (icon, text, function to call); react: called
    with an emoji, and None shows no reactions."""

    floats = BooleanProperty(False)

    def __init__(
        self,
        choices: list[tuple[str, str, Callable[[], object]]],
        react: Callable[[str], object] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(floats=Window.width > dp(WIDE), **options)
        if react is not None:
            row = Emojis()
            for emoji in REACTIONS:
                row.add_widget(self._reaction(emoji, react))
            self.ids.choices.add_widget(row)
        for symbol, words, act in choices:
            self.ids.choices.add_widget(self._choice(symbol, words, act))

    def _choice(self, symbol: str, words: str, act: Callable[[], object]) -> Widget:
        made = SheetRow(symbol=symbol, said=words)

        def chosen(_: object) -> None:
            self.dismiss(animation=False)
            act()

        made.bind(on_release=chosen)
        return made

    def _reaction(self, emoji: str, react: Callable[[str], object]) -> Widget:
        made = Emoji(said=emoji)

        def chosen(_: object) -> None:
            self.dismiss(animation=False)
            react(emoji)

        made.bind(on_release=chosen)
        return made


class Check(TapBox):
    """A choice that is on or off."""

    said = StringProperty("")
    on = BooleanProperty(False)


class Emojis(BoxLayout):
    """A row of reactions."""


class Emoji(TapBox):
    """One reaction."""

    said = StringProperty("")


class SheetRow(TapBox):
    """One choice of a menu."""

    symbol = StringProperty("")
    said = StringProperty("")


class Toast(Label):
    """A sentence at the bottom that disappears by itself."""


def toast(said: str, seconds: float = 4.0) -> None:
    """Shows a sentence above everything in the window for some seconds."""
    for child in list(Window.children):
        if isinstance(child, Toast):
            Window.remove_widget(child)
    made = Toast(text=markup(said), width=min(Window.width - dp(32), dp(420)))
    Window.add_widget(made)
    Clock.schedule_once(lambda _: Window.remove_widget(made), seconds)


def is_dark() -> bool:
    app = MDApp.get_running_app()
    return app is not None and app.theme_cls.theme_style == "Dark"


class Recycled(RecycleView):
    """A list whose rows call `open` of their page with the key of the row that was tapped."""

    def fill(self, rows: list[dict[str, Any]]) -> None:
        """rows: the attributes of each row.  Kivy draws nothing anew where they are equal."""
        self.data = rows
