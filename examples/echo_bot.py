"""A bot that answers each message with its own text.

    python examples/echo_bot.py FOLDER --passphrase-file FILE                            in the public network
    python examples/echo_bot.py FOLDER --passphrase-file FILE --bootstrap HOST:PORT      in a network of your own

FOLDER becomes the bot's profile at the first start.  Each start prints an invite for one person; accept it with
`kithkin contact accept INVITE`.  The bot joins every group that a contact offers it.

A message counts as answered once it is marked as read, and the mark is set after the answer is durable.  So messages
that came while the bot was off are answered at its next start, and a crash between the two steps answers one twice.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from sync.service import models, profiles
from sync.service.api import Network, Service

PAGE = 1000


def say(word: str, *more: str) -> None:
    print(word, *more, flush=True)


async def answer(service: Service, chat: models.Chat) -> None:
    """Answers what is unread in one chat, oldest first."""
    if not chat.unread:
        return
    page = await service.read(chat.id, limit=PAGE)
    theirs = [message for message in page.messages if not message.mine and not message.deleted]
    for message in theirs[-chat.unread :]:
        if message.text:
            await service.send(chat.id, message.text, reply=message.id)
            say("answered", message.author_name)
        await service.mark(chat.id, upto=message.id)


async def look(service: Service) -> None:
    """Joins what is offered and answers what is unread, in all chats."""
    for chat in (await service.chats()).chats:
        if chat.state == "invited":
            await service.chat_join(chat.id)
        elif chat.state == "active" and chat.kind != "self":
            await answer(service, chat)


async def serve(service: Service) -> None:
    """Until it is cancelled.  The events say when to look; what to do is read from the chats."""
    events = service.events()
    await service.ready()
    say("invite", (await service.contact_invite()).invite)
    await look(service)
    async for event in events:
        match event:
            case models.MessageEvent(new=True, message=models.Message(mine=False)) | models.ChatEvent():
                await look(service)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--passphrase-file", type=Path, required=True)
    parser.add_argument("--name", default="Echo")
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--bootstrap", action="append")
    options = parser.parse_args()
    passphrase = options.passphrase_file.read_text().rstrip("\n")
    network = Network(host=options.host, bootstrap=tuple(options.bootstrap) if options.bootstrap else None)

    if not (options.folder / profiles.KEYSTORE).exists():
        made = await profiles.create_profile(options.folder, passphrase, name=options.name)
        say("phrase", made.phrase)  # shown once: it is the only way back if the folder is lost
    async with profiles.open_service(options.folder, passphrase, network=network) as service:
        await serve(service)


if __name__ == "__main__":
    asyncio.run(main())
