"""The window: which view belongs to which stage and page, in one pane or two; the service's start and end."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kivy.clock import Clock
from kivy.core.window import Window
from kivy.properties import BooleanProperty, ObjectProperty
from kivy.uix.boxlayout import BoxLayout
from kivymd.app import MDApp

from apps.cli.terminal import given_passphrase
from apps.viewmodels.app import App, AppState, Stage
from apps.viewmodels.firstrun import CreateState, LaunchOptions
from apps.viewmodels.pages import Page, PageKind, Stack
from apps.viewmodels.ports import DeviceKind, real_profiles
from apps.viewmodels.service_thread import ServiceThread
from apps.widgets import firstrun
from apps.widgets.backup import BackupPage, RestoreProfile
from apps.widgets.chat import ChatPage, TextPage
from apps.widgets.chatlist import ChatList, SearchPage
from apps.widgets.colours import PRIMARY
from apps.widgets.people import (
    AcceptPage,
    DevicePage,
    GroupPage,
    InvitePage,
    MembersPage,
    SettingsPage,
)
from apps.widgets.view import Ui, View, load
from sync.service.api import KithkinError, Network

load("window.kv")
ESCAPE, KEY_F = 27, 102

PAGES: dict[PageKind, Callable[[Ui, str], View]] = {
    PageKind.CHATS: lambda ui, _: ChatList(ui),
    PageKind.CHAT: ChatPage,
    PageKind.TEXT: TextPage,
    PageKind.MEMBERS: MembersPage,
    PageKind.SEARCH: lambda ui, _: SearchPage(ui),
    PageKind.INVITE: lambda ui, _: InvitePage(ui),
    PageKind.ACCEPT: lambda ui, _: AcceptPage(ui),
    PageKind.GROUP: lambda ui, _: GroupPage(ui),
    PageKind.DEVICE: lambda ui, _: DevicePage(ui),
    PageKind.BACKUP: lambda ui, _: BackupPage(ui),
    PageKind.SETTINGS: lambda ui, _: SettingsPage(ui),
}
STAGES: dict[Stage, Callable[[Ui], View]] = {
    Stage.STARTING: firstrun.Starting,
    Stage.WELCOME: firstrun.Welcome,
    Stage.CREATE: firstrun.CreateProfile,
    Stage.LINK: firstrun.LinkDevice,
    Stage.RESTORE: RestoreProfile,
    Stage.RECOVER: firstrun.RecoverProfile,
    Stage.LOCKED: firstrun.Unlock,
    Stage.STOPPED: firstrun.Stopped,
}


class Pane(BoxLayout):
    """Shows the view of the top page; the views below are kept as they are."""

    def __init__(self, ui: Ui, **options: Any) -> None:
        super().__init__(**options)
        self._ui = ui
        self._views: dict[Page, View] = {}
        self._top: View | None = None

    def show(self, pages: tuple[Page, ...], blank: Callable[[], View] | None = None) -> None:
        """pages: the stack, its top last.  blank: makes the view for an empty stack."""
        for closed in [page for page in self._views if page not in pages]:
            view = self._views.pop(closed)
            if view is self._top:
                self._put(None)
            view.leave()
        if not pages:
            self._put(blank() if blank is not None else None)
            return
        top = pages[-1]
        if top not in self._views:
            self._views[top] = PAGES[top.kind](self._ui, top.id)
        self._put(self._views[top])

    def _put(self, view: View | None) -> None:
        if view is self._top:
            return
        if self._top is not None:
            self._top.shown(False)
            self.remove_widget(self._top)
        self._top = view
        if view is not None:
            self.add_widget(view)
            view.shown(True)

    def leave(self) -> None:
        self._put(None)
        for view in self._views.values():
            view.leave()
        self._views.clear()


class NoChat(View):
    """The right pane while no chat is open."""


class OnePane(View):
    """A phone: the top page alone."""

    def __init__(self, ui: Ui) -> None:
        super().__init__(ui)
        self._pane = Pane(ui)
        self.add_widget(self._pane)
        self.follow(ui.home.pages, self._draw)

    def _draw(self, state: Stack) -> None:
        # Views of pages below the top one are kept, so that going back is immediate.
        self._pane.show(state.pages)

    def leave(self) -> None:
        self._pane.leave()
        super().leave()


class TwoPanes(View):
    """A desktop: the list on the left, the top page on the right."""

    def __init__(self, ui: Ui) -> None:
        super().__init__(ui)
        self._list = ChatList(ui)
        self._pane = Pane(ui)
        self.ids.left.add_widget(self._list)
        self.ids.right.add_widget(self._pane)
        self.follow(ui.home.pages, self._draw)

    def _draw(self, state: Stack) -> None:
        self._pane.show(tuple(page for page in state.pages if page.kind is not PageKind.CHATS), lambda: NoChat(self.ui))

    def leave(self) -> None:
        self._pane.leave()
        self._list.leave()
        super().leave()


class Root(BoxLayout):
    """The background of the window."""


class KithkinWindow(MDApp):
    """`wide`: two panes.  The view-models run in the service thread; this class only shows them."""

    wide = BooleanProperty(False)
    model = ObjectProperty(None)

    def __init__(self, options: LaunchOptions, *, wide: bool, **attributes: Any) -> None:
        self._thread = ServiceThread()
        super().__init__(wide=wide, model=App(options), title="Kithkin", **attributes)
        self._ui = Ui(self._thread, self.model, wide)
        self._shown: tuple[object, ...] = ()
        self._view: View | None = None
        self._ends: list[Callable[[], None]] = []

    def build(self) -> Any:
        theme = self.theme_cls
        theme.primary_palette = PRIMARY
        theme.theme_style_switch_animation = False
        theme.theme_style = "Dark" if self.model.state.dark else "Light"
        Window.softinput_mode = "below_target"
        self._root = Root()
        return self._root

    def on_start(self) -> None:
        self._thread.start()
        Window.bind(on_key_down=self._key)
        for model in (self.model, self.model.create):
            trigger = Clock.create_trigger(self._draw)
            self._ends.append(model.watch(trigger))
        self._draw()
        self._ui.do(self.model.start())

    def on_stop(self) -> None:
        for end in self._ends:
            end()
        if self._view is not None:
            self._view.leave()
        self._thread.stop(self.model.close())

    def _draw(self, *_: object) -> None:
        state: AppState = self.model.state
        create: CreateState = self.model.create.state
        style = "Dark" if state.dark else "Light"
        if self.theme_cls.theme_style != style:
            self.theme_cls.theme_style = style
        words = firstrun.Asked if create.asked else firstrun.Phrase if create.words else None
        wanted = (state.stage, state.session, words)
        if wanted != self._shown:
            self._shown = wanted
            self._show(self._view_of(state, words))
        if isinstance(self._view, firstrun.Stopped):
            self._view.problem = state.problem

    def _view_of(self, state: AppState, words: Callable[[Ui], View] | None) -> View:
        if state.stage is Stage.HOME and state.session is not None:
            ui = Ui(self._thread, self.model, self.wide, state.session)
            return TwoPanes(ui) if self.wide else OnePane(ui)
        if words is not None:
            return words(self._ui)
        return STAGES.get(state.stage, firstrun.Starting)(self._ui)

    def _show(self, view: View) -> None:
        if self._view is not None:
            self._root.remove_widget(self._view)
            self._view.leave()
        self._view = view
        self._root.add_widget(view)

    def _key(self, _: object, key: int, __: object, ___: object, modifiers: list[str]) -> bool:
        """Escape (the back button of a phone) goes back, Ctrl+F searches."""
        session = self.model.state.session
        if key == ESCAPE:
            if session is not None:
                if session.pages.state.pages[1:]:
                    self._ui.call(session.back)
                    return True
                return bool(self.wide)
            self._ui.call(self.model.choose, Stage.WELCOME)
            return True
        if key == KEY_F and "ctrl" in modifiers and session is not None:
            self._ui.do(session.show(PageKind.SEARCH))
            return True
        return False


def open_window(options: LaunchOptions, *, wide: bool) -> None:
    """Returns when the window was closed and everything is stored."""
    if Window is None:
        raise KithkinError("not_allowed", "No window can be opened. Is a display available?")
    KithkinWindow(options, wide=wide).run()


def launch_options(folder: Path, kind: DeviceKind, network: Network) -> LaunchOptions:
    """What a window is started with.  The person enters the passphrase, unless KITHKIN_PASSPHRASE_FILE names a file."""
    os.umask(0o077)  # files of this process are readable by its user alone
    return LaunchOptions(real_profiles(), folder, kind, network, given_passphrase())
