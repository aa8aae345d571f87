"""The page of one chat: its messages, the composer, and the menu of a message."""

from __future__ import annotations

from typing import Any

from kivy.clock import Clock
from kivy.core.clipboard import Clipboard
from kivy.core.window import Window
from kivy.properties import BooleanProperty, StringProperty
from kivy.uix.textinput import TextInput

from apps.viewmodels.bubbles import Bubble
from apps.viewmodels.chat import ChatState
from apps.viewmodels.pages import PageKind
from apps.widgets.controls import Avatar, Sheet, Words, toast
from apps.widgets.fonts import field_font
from apps.widgets.timeline import Timeline
from apps.widgets.view import Ui, View, load

load("chat.kv")
ENTER = 13
KEYPAD_ENTER = 271
PIECE = 1500  # characters of one label of a long text
MAX_LINES = 3000  # of a long text: 64 KiB of prose have half of that, 64 KiB of line ends would fill a graphics card


class Composer(TextInput):
    """Enter sends, Shift+Enter starts a new line; it grows to six lines."""

    __events__ = ("on_send",)

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.bind(text=self._fit_font)

    def on_send(self) -> None:
        """Bound by the page."""

    def _fit_font(self, _: object, text: str) -> None:
        # Kivy does nothing if it is the same as before.
        self.font_name = field_font(text)

    def keyboard_on_key_down(self, window: Any, keycode: tuple[int, str], text: str, modifiers: list[str]) -> bool:
        if keycode[0] in (ENTER, KEYPAD_ENTER) and "shift" not in modifiers:
            self.dispatch("on_send")
            return True
        return bool(super().keyboard_on_key_down(window, keycode, text, modifiers))


class ChatPage(View):
    """`about_title` and `about_text`: what the composer replies to or edits.  `behind`: the newest message is below."""

    title = StringProperty("")
    subtitle = StringProperty("")
    notice = StringProperty("")
    invitation = StringProperty("")
    may_restart = BooleanProperty(False)
    asks = StringProperty("")
    problem = StringProperty("")
    about_title = StringProperty("")
    about_text = StringProperty("")
    writable = BooleanProperty(True)
    invited = BooleanProperty(False)
    closed = StringProperty("")
    behind = BooleanProperty(False)
    has_text = BooleanProperty(False)

    def __init__(self, ui: Ui, id_: str) -> None:
        self.chat = ui.home.chat(id_)
        self._round = -1
        self._top = False
        super().__init__(ui)
        self._avatar = Avatar(size=("36dp", "36dp"))
        self.ids.bar.ids.front.add_widget(self._avatar)
        self.ids.bar.can_go_back = not ui.wide
        timeline: Timeline = self.ids.timeline
        timeline.bind(on_tapped=self._tapped, on_moved=self._moved)
        timeline.bind(on_near_top=lambda _: self._load_older(), on_near_end=lambda _: self._load_newer())
        Window.bind(focus=self._moved)
        self.follow(self.chat, self._draw)

    def shown(self, top: bool) -> None:
        self._top = top
        if top and self.ui.wide:
            Clock.schedule_once(lambda _: setattr(self.ids.composer, "focus", True), 0)
        if not top:
            self.ui.call(self.chat.keep_draft, self.ids.composer.text)
        self._moved()

    def leave(self) -> None:
        Window.unbind(focus=self._moved)
        self.ui.call(self.chat.visible, False)
        super().leave()

    def back(self) -> None:
        self.ui.call(self.ui.home.back)

    def members(self) -> None:
        self.ui.do(self.ui.home.show(PageKind.MEMBERS, self.chat.id))

    # ---- the state

    def _draw(self, state: ChatState) -> None:
        self.title, self.subtitle, self.problem = state.title, state.subtitle, state.problem
        self.notice, self.invitation = state.notice, state.invitation
        self.may_restart, self.asks = state.may_restart, state.asks
        self._avatar.letters, self._avatar.shade = state.initials, state.shade
        self._avatar.symbol = {"self": "note-text-outline", "group": "account-group", "direct": ""}[state.kind]
        self.invited = state.state == "invited"
        self.writable = state.state == "active"
        self.closed = {"left": "You left this group.", "removed": "You were removed from this group."}.get(
            state.state, ""
        )
        if state.editing:
            self.about_title = "Edit message"
        elif state.reply_to:
            self.about_title = "Reply to " + (state.quoted.author if state.quoted is not None else "")
        else:
            self.about_title = ""
        self.about_text = state.quoted.text if state.quoted is not None else ""
        if state.round != self._round:
            # The composer starts afresh: after sending, for a reply or an edit, or because this page is new.
            self._round = state.round
            self.ids.composer.text = state.draft
            if state.reply_to or state.editing:
                self.ids.composer.focus = True
        self.ids.timeline.show(state.bubbles, state.target)
        self._moved()

    def _moved(self, *_: object) -> None:
        state = self.chat.state
        at_end = self.ids.timeline.at_end
        self.behind = bool(state.bubbles) and (state.newer or not at_end)
        self.ui.call(self.chat.visible, self._top and at_end and bool(Window.focus))

    def _load_older(self) -> None:
        if self.chat.state.older and not self.chat.state.busy:
            self.ui.do(self.chat.load_older())

    def _load_newer(self) -> None:
        if self.chat.state.newer and not self.chat.state.busy:
            self.ui.do(self.chat.load_newer())

    def newest(self) -> None:
        if self.chat.state.newer:
            self.ui.do(self.chat.newest())
        self.ids.timeline.to_end()

    # ---- writing

    def typed(self, text: str) -> None:
        self.has_text = bool(text.strip())

    def send(self) -> None:
        if self.has_text:
            self.ids.timeline.to_end()
            self.ui.do(self.chat.send(self.ids.composer.text))
            self.ids.composer.focus = True

    def drop(self) -> None:
        self.ui.call(self.chat.drop)

    def join(self) -> None:
        async def join() -> None:
            joined = await self.chat.join()
            if joined not in ("", self.chat.id):
                await self.ui.home.show_chat(joined)

        self.ui.do(join())

    def restart(self) -> None:
        if self.asks:
            self.ui.do(self.chat.restart())
        else:
            self.ui.call(self.chat.ask_to_restart)

    def keep_as_it_is(self) -> None:
        self.ui.call(self.chat.keep_as_it_is)

    def decline(self) -> None:
        async def decline() -> None:
            if await self.chat.decline():
                self.ui.home.back()

        self.ui.do(decline())

    # ---- one message

    def _tapped(self, _: object, bubble: Bubble, what: str) -> None:
        if what == "more":
            self._show_full_text(bubble)
        elif what.startswith("react:"):
            self._react(bubble, what.removeprefix("react:"))
        else:
            self._menu(bubble)

    def _react(self, bubble: Bubble, emoji: str) -> None:
        self.ui.do(self.chat.react(bubble.id, emoji))

    def _show_full_text(self, bubble: Bubble) -> None:
        async def show() -> None:
            self.chat.show_full_text(bubble.id)
            await self.ui.home.show(PageKind.TEXT, self.chat.id)

        self.ui.do(show())

    def _copy(self, bubble: Bubble) -> None:
        Clipboard.copy(self.chat.text_of(bubble.id))
        toast("Copied")

    def _menu(self, bubble: Bubble) -> None:
        ui, chat, id_ = self.ui, self.chat, bubble.id
        choices: list[tuple[str, str, Any]] = []
        if not bubble.deleted:
            if self.writable:
                choices.append(("reply", "Reply", lambda: ui.call(chat.reply, id_, self.ids.composer.text)))
            choices.append(("content-copy", "Copy", lambda: self._copy(bubble)))
            if bubble.mine and self.writable:
                choices.append(("pencil-outline", "Edit", lambda: ui.call(chat.begin_edit, id_)))
                if bubble.state == "queued":
                    choices.append(("undo", "Cancel sending", lambda: ui.do(chat.cancel(id_))))
                choices.append(
                    ("delete-sweep-outline", "Delete for everyone", lambda: ui.do(chat.delete(id_, everyone=True)))
                )
        choices.append(("delete-outline", "Delete for me", lambda: ui.do(chat.delete(id_, everyone=False))))
        react = (lambda emoji: self._react(bubble, emoji)) if self.writable and not bubble.deleted else None
        Sheet(choices, react).open(animation=False)


class TextPiece(Words):
    """Some paragraphs of a long text."""


class TextPage(View):
    """A long text in full, in pieces that a graphics card can hold."""

    def __init__(self, ui: Ui, id_: str) -> None:
        super().__init__(ui)
        for piece in pieces_of(ui.home.chat(id_).state.full_text):
            self.ids.pieces.add_widget(TextPiece(said=piece))

    def back(self) -> None:
        self.ui.call(self.ui.home.back)


def pieces_of(text: str) -> list[str]:
    """A text cut at line ends where it can be, else anywhere.  After `MAX_LINES` lines the rest is only counted."""
    pieces: list[str] = []
    lines = text.split("\n")
    for line in lines[:MAX_LINES]:
        parts = [line[at : at + PIECE] for at in range(0, len(line), PIECE)] or [""]
        for part in parts:
            if pieces and len(pieces[-1]) + len(part) < PIECE and pieces[-1].count("\n") < 40 and part is parts[0]:
                pieces[-1] += "\n" + part
            else:
                pieces.append(part)
    if len(lines) > MAX_LINES:
        pieces.append(f"… {len(lines) - MAX_LINES} more lines. Copy the message to read them.")
    return pieces
