"""A slow reader gets one gap in the place of what it lost, and everything that came after it had taken the gap."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from sync.service.gap_queue import GapQueue


async def taken(queue: GapQueue[str], count: int) -> list[str | None]:
    return [await queue.get() for _ in range(count)]


def test_reader_that_keeps_up_loses_nothing() -> None:
    async def story() -> None:
        queue = GapQueue(2, "gap")
        seen = []
        for line in "abcdef":
            queue.put(line)
            seen += await taken(queue, 1)
        assert seen == list("abcdef")

    asyncio.run(story())


def test_slow_reader_gets_one_gap_in_the_place_of_lost_lines() -> None:
    async def story() -> None:
        queue = GapQueue(3, "gap")
        for line in "abcdef":
            queue.put(line)
        assert await taken(queue, 3) == list("abc")
        queue.put("g")  # the gap was not taken yet, so it covers this one too
        assert await taken(queue, 1) == ["gap"]
        for line in "hi":
            queue.put(line)
        queue.end()
        assert await taken(queue, 3) == ["h", "i", None]

    asyncio.run(story())


@given(st.integers(1, 4), st.lists(st.booleans(), max_size=60))
def test_each_line_is_taken_or_put_before_a_gap_is_taken(limit: int, puts: list[bool]) -> None:
    """True puts the next number, False takes one line where there is one."""

    async def story() -> None:
        queue = GapQueue(limit, -1)
        waiting = put = covered = 0
        seen: list[int] = []
        for is_put in puts:
            if is_put:
                queue.put(put)
                put += 1
            waiting = queue.waiting
            if not is_put and waiting:
                line = await queue.get()
                assert line is not None
                covered = put if line == -1 else covered
                if line >= 0:
                    assert not seen or line > seen[-1]
                    missing = set(range(seen[-1] + 1 if seen else 0, line))
                    assert all(number < covered for number in missing)
                    seen.append(line)
            assert queue.waiting <= limit + 1

    asyncio.run(story())
