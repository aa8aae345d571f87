"""A bot that keeps a copy of every chat as JSON lines, beside a node that runs already.

    kithkin run                                                  in another terminal
    python examples/backup_bot.py PROFILE TARGET --every 60

TARGET gets a file CHAT.jsonl for each chat, which `kithkin import` takes back, and chats.json with their titles.
A chat is written again when something happened in it, at most once in `--every` seconds; files are replaced whole.
`--once` writes everything and ends.

The copies are plain text: whoever reads TARGET reads your chats.  They hold the messages, not your keys.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from sync.service import models, remote
from sync.service.api import KithkinError, Service


def file_of(target: Path, chat: str) -> Path:
    """The file of a chat; the node writes it, so the path is absolute."""
    return (target / f"{chat.replace('/', '_')}.jsonl").resolve()


async def write(service: Service, target: Path, wanted: set[str] | None) -> None:
    """Writes the chats with these ids, all of them for None."""
    listed = (await service.chats()).chats
    for chat in listed:
        if chat.state != "invited" and (wanted is None or chat.id in wanted):
            written = await service.export(chat.id, file_of(target, chat.id), force=True)
            print("wrote", chat.title, written.exported, flush=True)
    titles = models.Chats(chats=listed).model_dump_json(indent=2)
    (target / "chats.json").write_text(titles + "\n", "utf-8")


def changed(event: models.Event) -> str | None:
    """The chat whose copy an event makes outdated."""
    match event:
        case models.MessageEvent(chat=chat):
            return chat
        case models.ChatEvent(chat=chat):
            return chat.id
    return None


async def follow(service: Service, target: Path, every: float) -> None:
    """Until the node ends, which raises KithkinError.  Events count from before the first copy: nothing is missed."""
    loop = asyncio.get_running_loop()
    events = service.events()
    await write(service, target, None)
    outdated: set[str] = set()
    due = 0.0
    following = asyncio.ensure_future(anext(events))
    while True:
        await asyncio.wait({following}, timeout=max(0.0, due - loop.time()) if outdated else None)
        if following.done():
            chat = changed(following.result())
            following = asyncio.ensure_future(anext(events))
            if chat is not None:
                due = due if outdated else loop.time() + every
                outdated.add(chat)
        if outdated and loop.time() >= due:
            wanted, outdated = outdated, set()
            await write(service, target, wanted)


async def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("profile", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--every", type=float, default=60.0)
    parser.add_argument("--once", action="store_true")
    options = parser.parse_args()
    options.target.mkdir(mode=0o700, parents=True, exist_ok=True)

    try:
        service = await remote.connect(options.profile)
        if service is None:
            raise KithkinError("profile_not_found", "No node runs on that profile; start `kithkin run`.")
        async with service:
            if options.once:
                await write(service, options.target, None)
            else:
                await follow(service, options.target, options.every)
    except KithkinError as error:
        print(f"{error.code}: {error.message}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
