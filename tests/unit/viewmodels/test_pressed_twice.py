"""Buttons that are pressed twice, or together with Enter in a field: the second press does nothing.

The windows cannot prevent it: they draw a state one frame after it changed.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from apps.viewmodels.app import Stage
from apps.viewmodels.model import ViewModel
from tests.unit.viewmodels.stage import SECRET, friends, home, person, stage_of, started, until


@dataclass(frozen=True, slots=True)
class Working:
    busy: bool = False
    problem: str = ""


class Worker(ViewModel[Working]):
    async def work(self, end: asyncio.Event) -> None:
        with self._working():
            await end.wait()


def test_view_model_is_busy_until_the_last_of_several_tasks_has_ended() -> None:
    async def story() -> None:
        worker, ends = Worker(Working()), [asyncio.Event(), asyncio.Event()]
        async with asyncio.TaskGroup() as group:
            first, second = (group.create_task(worker.work(end)) for end in ends)
            await asyncio.sleep(0)
            ends[0].set()
            await first
            assert worker.state.busy and not second.done()
            ends[1].set()
        assert not worker.state.busy

    asyncio.run(story())


def test_pressing_twice_creates_starts_and_unlocks_a_profile_once(tmp_path: Path) -> None:
    async def story() -> None:
        async with started(tmp_path / "ada", given=None) as app:
            app.choose(Stage.CREATE)
            await asyncio.gather(*(app.create.create("Ada", SECRET, SECRET) for _ in range(2)))
            assert (len(app.create.state.words), app.create.state.problem) == (24, "")
            app.create.noted()
            app.create.noted()
            words = app.create.state.words
            while app.create.state.asked:
                word = words[app.create.state.asked - 1]
                await asyncio.gather(app.create.answer(word), app.create.answer(word))
            assert home(app).chats.state.loaded
        async with started(tmp_path / "ada", given=None) as app:
            await asyncio.gather(app.unlock.unlock("wrong horse"), app.unlock.unlock(SECRET))
            assert stage_of(app) is Stage.LOCKED  # the second press was ignored
            await asyncio.gather(app.start(), app.start())
            await asyncio.gather(app.unlock.unlock(SECRET), app.unlock.unlock(SECRET))
            assert (stage_of(app), app.unlock.state.problem) == (Stage.HOME, "")

    asyncio.run(story())


def test_pressing_twice_creates_and_joins_a_group_once(tmp_path: Path) -> None:
    async def story() -> None:
        async with person(tmp_path / "ada", "Ada") as ada, person(tmp_path / "bob", "Bob") as bob:
            await friends(ada, bob)
            await ada.group.load()
            ada.group.toggle(ada.group.state.people[0].id)
            pressed = [ada.group.create("Trip"), ada.group.create("Trip")]
            ada.group.reload()  # the contacts are read again just then
            await asyncio.gather(*pressed)
            await ada.chats.load()
            assert [row.title for row in ada.chats.state.rows].count("Trip") == 1

            trip = ada.pages.state.top.id
            await until(lambda: trip in [row.id for row in bob.chats.state.rows])
            await bob.show_chat(trip)
            chat = bob.chat(trip)
            assert chat.state.state == "invited"
            await asyncio.gather(chat.join(), chat.join())
            assert chat.state.problem == ""
            assert not await chat.decline()  # too late for that

    asyncio.run(story())
