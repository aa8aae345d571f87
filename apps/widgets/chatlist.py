"""The list of chats and the results of a search: rows of one height in a recycled list."""

from __future__ import annotations

from typing import Any

from kivy.properties import BooleanProperty, NumericProperty, StringProperty

from apps.viewmodels.app import AppState
from apps.viewmodels.chats import ChatsState, ListedChat
from apps.viewmodels.devices import DevicesState
from apps.viewmodels.pages import PageKind, Stack
from apps.viewmodels.search import SearchState
from apps.widgets.controls import Sheet, TapBox, toast
from apps.widgets.view import Ui, View, load

load("chatlist.kv")
SYMBOLS = {"self": "note-text-outline", "group": "account-group", "direct": ""}


class ChatRow(TapBox):
    key = StringProperty("")
    title = StringProperty("")
    letters = StringProperty("")
    symbol = StringProperty("")
    shade = NumericProperty(0)
    preview = StringProperty("")
    time = StringProperty("")
    badge = StringProperty("")
    loud = BooleanProperty(False)


class ChatList(View):
    """The left pane, or the first page of a phone."""

    name = StringProperty("")
    network = StringProperty("")
    notice = StringProperty("")
    linked = StringProperty("")  # asks whether the device that was linked just now is mine
    empty = BooleanProperty(False)

    def __init__(self, ui: Ui) -> None:
        super().__init__(ui)
        self._top = ""
        self._rows: tuple[ListedChat, ...] = ()
        bar = self.ids.bar
        bar.tool("magnify", lambda: self.show(PageKind.SEARCH))
        self._theme_button = bar.tool("weather-night", self._toggle_theme)
        bar.tool("dots-vertical", self._menu)
        home = ui.home
        self.follow(home.chats, self._draw)
        self.follow(home.pages, self._mark_open)
        self.follow(home.devices, self._draw_network)
        self.follow(ui.app, self._draw_theme)

    def show(self, kind: str) -> None:
        self.ui.do(self.ui.home.show(PageKind(kind)))

    def open(self, key: str) -> None:
        self.ui.do(self.ui.home.show_chat(key))

    def _menu(self) -> None:
        Sheet(
            [
                ("account-plus-outline", "Invite a contact", lambda: self.show(PageKind.INVITE)),
                ("qrcode-scan", "Open an invite", lambda: self.show(PageKind.ACCEPT)),
                ("account-multiple-plus-outline", "New group", lambda: self.show(PageKind.GROUP)),
                ("cellphone-link", "Link a device", lambda: self.show(PageKind.DEVICE)),
                ("cog-outline", "Profile and devices", lambda: self.show(PageKind.SETTINGS)),
            ]
        ).open(animation=False)

    def keep(self) -> None:
        """The device that was linked just now is mine."""
        self.ui.call(self.ui.home.devices.keep)

    def undo(self) -> None:
        """It is not: asks, and shuts it out."""
        self.ui.do(self.ui.home.devices.ask(self.ui.home.devices.state.fresh))
        self.show("settings")

    def _toggle_theme(self) -> None:
        self.ui.call(self.ui.app.set_dark, not self.ui.app.state.dark)

    def _draw_theme(self, state: AppState) -> None:
        self._theme_button.icon = "weather-sunny" if state.dark else "weather-night"

    def _draw_network(self, state: DevicesState) -> None:
        self.name, self.network = state.name, state.network
        fresh = next((device.name for device in state.devices if device.id == state.fresh), "")
        self.linked = f'"{fresh}" was linked to your account. Is it yours?' if fresh else ""
        if state.notice:
            toast(state.notice, 8)
            self.ui.call(self.ui.home.devices.noticed)

    def _draw(self, state: ChatsState) -> None:
        self.notice = state.problem or state.progress
        self.empty = state.loaded and all(row.kind == "self" for row in state.rows)
        self._rows = state.rows
        self._fill()

    def _mark_open(self, stack: Stack) -> None:
        self._top = next((page.id for page in reversed(stack.pages) if page.kind is PageKind.CHAT), "")
        self._fill()

    def _fill(self) -> None:
        opened = self._top if self.ui.wide else ""
        self.ids.list.fill([row_data(row, row.id == opened) for row in self._rows])


def row_data(row: ListedChat, opened: bool) -> dict[str, Any]:
    return {
        "key": row.id,
        "title": row.title,
        "letters": row.initials,
        "symbol": SYMBOLS[row.kind],
        "shade": row.shade,
        "preview": row.preview,
        "time": row.time,
        "badge": "!" if row.invited else row.badge,
        "loud": bool(row.badge) or row.invited,
        "chosen": opened,
    }


class SearchPage(View):
    """A field and the messages that its words are in."""

    summary = StringProperty("")

    def __init__(self, ui: Ui) -> None:
        super().__init__(ui)
        self._chats: dict[str, str] = {}
        self.follow(ui.home.search, self._draw)
        self.ids.query.text = ui.home.search.state.query

    def shown(self, top: bool) -> None:
        self.ids.query.focus = top

    def back(self) -> None:
        self.ui.call(self.ui.home.back)

    def typed(self, query: str) -> None:
        self.ui.call(self.ui.home.search.look_for, query)

    def open(self, key: str) -> None:
        self.ui.do(self.ui.home.show_chat(self._chats[key], key))

    def _draw(self, state: SearchState) -> None:
        self.summary = state.problem or state.summary
        self._chats = {found.id: found.chat for found in state.found}
        self.ids.list.fill(
            [
                {
                    "key": found.id,
                    "title": found.title,
                    "letters": found.initials,
                    "symbol": SYMBOLS[found.kind],
                    "shade": found.shade,
                    "preview": found.snippet,
                    "time": found.time,
                    "badge": "",
                    "loud": False,
                    "chosen": False,
                }
                for found in state.found
            ]
        )
