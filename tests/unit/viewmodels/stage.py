"""Apps without windows, one for each person: real profiles and services over loopback UDP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from apps.viewmodels.app import App, Stage
from apps.viewmodels.firstrun import LaunchOptions
from apps.viewmodels.ports import DeviceKind
from apps.viewmodels.session import Session
from sync.service import profiles as profile
from sync.service.api import Network

SECRET = "correct horse"
PATIENCE = 20.0


def app_at(folder: Path, kind: DeviceKind = "phone", given: str | None = SECRET) -> App:
    return App(LaunchOptions(profile, folder, kind, Network(host="127.0.0.1"), given))


@asynccontextmanager
async def started(folder: Path, kind: DeviceKind = "phone", given: str | None = SECRET) -> AsyncIterator[App]:
    app = app_at(folder, kind, given)
    await app.start()
    try:
        yield app
    finally:
        await app.close()


@asynccontextmanager
async def person(folder: Path, name: str) -> AsyncIterator[Session]:
    """The session of a new profile."""
    async with started(folder) as app:
        await app.create.create(name, "", "")
        await note_words(app)
        yield home(app)


async def note_words(app: App) -> None:
    """Says that the words are written down, and answers those that are asked back."""
    words = app.create.state.words
    app.create.noted()
    while app.create.state.asked:
        await app.create.answer(words[app.create.state.asked - 1])


def stage_of(app: App) -> Stage:
    return app.state.stage


def home(app: App) -> Session:
    assert app.state.stage is Stage.HOME, (app.state.stage, app.state.problem)
    session = app.state.session
    assert session is not None
    return session


async def until(holds: Callable[[], bool]) -> None:
    """Waits until it holds: for something that another node sends."""
    async with asyncio.timeout(PATIENCE):
        while not holds():
            await asyncio.sleep(0.02)


async def friends(ada: Session, bob: Session) -> str:
    """Bob accepts Ada's invite; the chat's id."""
    await ada.invite.create()
    await bob.accept.accept(ada.invite.state.text)
    assert not bob.accept.state.problem
    return bob.pages.state.top.id
