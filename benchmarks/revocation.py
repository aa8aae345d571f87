"""Shutting a device out of many chats: from the command until every chat has a key that it does not get, durable.

python -m benchmarks.revocation [chats=200]
"""

from __future__ import annotations

import json
import sys
import time

from identity.kem import installed
from sync.engine.effects import Progress
from sync.engine.revocation import shut_out
from sync.service.ids import device_id
from tests.support import device as simulated
from tests.support.world import World


def revocation(chats: int) -> dict[str, float]:
    """One round: a person with two devices and so many groups that both are in; one shuts the other out."""
    vars(simulated)["SIMULATED"] = installed()
    world = World(1)
    phone, desk = world.linked("Ada")
    for start in range(0, chats, 20):
        for number in range(start, min(start + 20, chats)):
            desk.group(f"Group {number}")
        world.settle()
    lost = phone.engine.profile.account.device
    world.cut(phone, desk)
    desk.events.clear()
    before, began, cpu, longest = desk.commits, time.perf_counter(), time.process_time(), 0.0
    profile, engine = desk.engine.profile, desk.engine
    desk.do(lambda engine: shut_out(profile, lost, int(desk.now * 1000)))
    while engine.tasks.owing:
        tick = time.perf_counter()
        desk._tick()
        longest = max(longest, time.perf_counter() - tick)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    left = sum(lost in space.devices() for space in profile.spaces.values())
    told = sum(isinstance(event, Progress) and event.what == "re-keying" for event in desk.events)
    if left:
        raise RuntimeError(f"{device_id(lost)} is still in {left} spaces")
    return {
        "chats": chats,
        "seconds": round(seconds, 3),
        "cpu_s": round(cpu, 3),
        "longest_tick_s": round(longest, 3),
        "commits": desk.commits - before,
        "progress": told,
    }


def main(chats: int = 200) -> None:
    print(json.dumps(revocation(chats)))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
