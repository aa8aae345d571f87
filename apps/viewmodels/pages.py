"""Which pages are open: a stack, the same for one pane and for two."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from apps.viewmodels.model import ViewModel


class PageKind(StrEnum):
    """What a page shows.  `TEXT`: one long message; `DEVICE`: approving a device; `BACKUP`: backing this one
    up."""

    CHATS = "chats"
    CHAT = "chat"
    MEMBERS = "members"
    TEXT = "text"
    SEARCH = "search"
    INVITE = "invite"
    ACCEPT = "accept"
    GROUP = "group"
    DEVICE = "device"
    SETTINGS = "settings"
    BACKUP = "backup"


@dataclass(frozen=True, slots=True)
class Page:
    """`id`: the chat of a chat's pages, "" elsewhere."""

    kind: PageKind
    id: str = ""


ROOT = Page(PageKind.CHATS)
MAX_DEPTH = 8


@dataclass(frozen=True, slots=True)
class Stack:
    """The list of chats at the bottom, the page that is seen on top."""

    pages: tuple[Page, ...] = (ROOT,)

    @property
    def top(self) -> Page:
        """The page that is seen."""
        return self.pages[-1]


class Pages(ViewModel[Stack]):
    """At most `MAX_DEPTH` pages; of more, those next to the list are closed."""

    def __init__(self) -> None:
        super().__init__(Stack())

    def open(self, page: Page) -> None:
        """Puts a page on top, or goes back to it where it is in the stack already."""
        pages = self.state.pages
        if page in pages:
            self._become(pages=pages[: pages.index(page) + 1])
        else:
            self._become(pages=(ROOT, *(*pages[1:], page)[1 - MAX_DEPTH :]))

    def show(self, page: Page) -> None:
        """Shows a page directly above the list of chats; whatever else was open is closed."""
        self._become(pages=(ROOT,) if page == ROOT else (ROOT, page))

    def back(self) -> bool:
        """Closes the top page.  Whether there was one above the list."""
        if len(self.state.pages) == 1:
            return False
        self._become(pages=self.state.pages[:-1])
        return True
