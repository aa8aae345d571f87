"""The story that `kithkin demo` tells: a phone, a desktop and a friend, as processes over real UDP, checking itself.

None of the three is told an address of another: a DHT of the demo's own leads them together.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from apps.cli.lines import corpus, slices, words_to_find
from apps.cli.output import Output
from apps.cli.stage import APART, Actor
from apps.cli.terminal import qr_lines
from sync.service.api import KithkinError
from sync.service.models import Line
from sync.service.testnet import open_testnet

EACH = 300
"""Lines that every device imports while it is alone."""
PATIENCE = 90.0
NODES = 10


class Step(Line):
    step: str
    seconds: float
    detail: str


class Story(Line):
    ok: bool
    pairing_seconds: float
    merging_seconds: float
    search_ms: float
    messages: int


class Teller:
    """Says one line a step, with the time that it took."""

    def __init__(self, out: Output) -> None:
        self.out = out
        self._number = 0

    @contextlib.asynccontextmanager
    async def step(self, title: str) -> AsyncIterator[dict[str, Any]]:
        """What the block puts into the dict is said after it."""
        found: dict[str, Any] = {"detail": ""}
        self._number += 1
        if not self.out.json:
            self.out.text(f"\n{self._number}. {title}")
        began = time.perf_counter()
        yield found
        found["seconds"] = round(time.perf_counter() - began, 3)
        if self.out.json:
            self.out.line(Step(step=title, seconds=found["seconds"], detail=found["detail"]))
        else:
            self.out.text(f"   {found['detail']}  ({found['seconds']:.2f} s)")

    def aside(self, text: str) -> None:
        if not self.out.json:
            self.out.text("\n".join(f"   {line}" for line in text.split("\n")))


def check(holds: bool, what: str) -> None:
    if not holds:
        raise KithkinError("internal", f"The demo checked itself and found a fault: {what}.")


async def until(holds: Callable[[], Awaitable[bool]], what: str) -> None:
    try:
        async with asyncio.timeout(PATIENCE):
            while not await holds():
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise KithkinError("timeout", f"The demo waited {PATIENCE:g} s in vain: {what}.") from None


async def tell(out: Output) -> None:
    """Raises KithkinError where the story does not end as it should."""
    with tempfile.TemporaryDirectory(prefix="kithkin-demo-") as name:
        folder = Path(name)
        passphrase = folder / "passphrase"
        passphrase.write_text("a demo keeps no secrets\n")
        teller = Teller(out)
        async with contextlib.AsyncExitStack() as stack:
            async with teller.step(f"A DHT of our own: {NODES} nodes on this machine, no server among them") as said:
                net = await stack.enter_async_context(open_testnet(NODES))
                said["detail"] = f"the first at {net.bootstrap}; nobody is told where anybody else is"
            phone, desktop, friend = (
                Actor(who, folder / who, passphrase, net.bootstrap) for who in ("phone", "desktop", "friend")
            )
            for actor in (phone, desktop, friend):
                stack.push_async_callback(actor.stop)
            out.line(await Play(teller, folder, phone, desktop, friend).all())


class Play:
    """The acts, in order; each leaves behind what the next needs."""

    def __init__(self, teller: Teller, folder: Path, phone: Actor, desktop: Actor, friend: Actor) -> None:
        self.teller = teller
        self.folder = folder
        self.phone, self.desktop, self.friend = phone, desktop, friend
        self.everybody = (phone, desktop, friend)
        self.direct = self.group = ""

    async def all(self) -> Story:
        await self.first_run()
        pairing = await self.pairing()
        await self.meeting()
        await self.group_chat()
        await self.apart()
        merging, count = await self.merging()
        await self.phone_off()
        search = await self.searching()
        await self.delivered()
        return Story(ok=True, pairing_seconds=pairing, merging_seconds=merging, search_ms=search, messages=count)

    async def first_run(self) -> None:
        async with self.teller.step("Ada makes a profile on her phone, Bob on his") as said:
            ada = await self.phone.ask("init", "--name", "Ada")
            await self.friend.ask("init", "--name", "Bob")
            check(len(ada["phrase"].split()) == 24, "the phrase has 24 words")
            await self.phone.start()
            await self.friend.start()
            said["detail"] = f"Ada is {ada['identity']}; her 24 words are shown once and kept nowhere"

    async def pairing(self) -> float:
        async with self.teller.step("Ada links her desktop: a code on its screen, six digits from the phone") as said:
            async with self.desktop.dialogue("link", "--name", "desk", *APART) as new:
                payload = (await new.line())["payload"]
                self.teller.aside("\n".join(qr_lines(payload, colour=self.teller.out.colour)))
                began = time.perf_counter()
                async with self.phone.dialogue("device", "approve", payload, "--yes") as old:
                    code = (await old.line())["code"]
                    self.teller.aside(f"the phone shows {code}, Ada types it on the desktop")
                    new.type(code)
                    linked = await new.line()
                    approved = await old.line()
                seconds = round(time.perf_counter() - began, 3)
            check(linked["device"] == approved["device"], "both sides name one device")
            await self.desktop.start()
            said["detail"] = f"linked in {seconds:.2f} s"
        return seconds

    async def meeting(self) -> None:
        async with self.teller.step("Ada invites Bob; he accepts") as said:
            invite = (await self.phone.ask("contact", "invite"))["invite"]
            accepted = await self.friend.ask("contact", "accept", invite)
            self.direct = accepted["chat"]

            async def known() -> bool:
                chats = (await self.desktop.node.chats()).chats
                return any(chat.id == self.direct and chat.state == "active" for chat in chats)

            await until(known, "the desktop knows the new contact")
            names = [[one.name for one in (await who.node.contacts()).contacts] for who in (self.phone, self.desktop)]
            check(names == [["Bob"], ["Bob"]], "phone and desktop both list Bob")
            profile = await self.desktop.node.profile()
            check(profile.name == "Ada", "the desktop has Ada's profile")
            found = await self.friend.node.status()
            check(bool(found.peers) and all(peer.path is not None for peer in found.peers), "Bob's way to Ada is known")
            check(found.dht.bootstrapped and bool(found.dht.relays), "Bob's phone is findable by its key")
            ways = ", ".join(sorted({f"{peer.path} in {peer.rtt_ms or 0:.0f} ms" for peer in found.peers}))
            said["detail"] = f"phone and desktop list Bob, Bob lists Ada; his way to her: {ways}"

    async def group_chat(self) -> None:
        async with self.teller.step("A group chat: Ada offers it, Bob joins") as said:
            contact = (await self.phone.ask("contact", "list"))["contacts"][0]["id"]
            self.group = (await self.phone.ask("chat", "new", "--title", "Lighthouse trip", contact))["chat"]

            async def state(who: Actor, wanted: str) -> bool:
                chats = (await who.node.chats()).chats
                return any(chat.id == self.group and chat.state == wanted for chat in chats)

            await until(partial(state, self.friend, "invited"), "the offer reaches Bob")
            await self.friend.ask("chat", "join", self.group)
            for who in self.everybody:
                await until(partial(state, who, "active"), f"the group is there on the {who.name}")
            await self.phone.ask("send", self.group, "Welcome to the trip")
            for who in self.everybody:
                await until(partial(self._holds, who, 1), f"the first message on the {who.name}")
            # Bob's receipt may still be under way; what waits later must be what is written later.
            await until(partial(self._outbox_is_empty, self.phone), "Bob's receipt reaches the phone")
            said["detail"] = "all three hold it"

    async def _holds(self, who: Actor, count: int) -> bool:
        return len(await who.messages(self.group)) >= count

    async def apart(self) -> None:
        where = "a public chat log" if corpus() else "our own text"
        async with self.teller.step(f"Every node stops; each device writes alone ({where})") as said:
            for who in self.everybody:
                await who.stop()
            for who, lines in zip(self.everybody, slices(3, EACH), strict=True):
                file = self.folder / f"{who.name}.jsonl"
                file.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
                loaded = await who.ask("import", self.group, str(file))
                check(loaded["imported"] == EACH, "every line is imported")
                await who.ask("send", self.direct, f"written alone on the {who.name}")
                pending = (await who.ask("outbox"))["pending"]
                check(len(pending) >= EACH + 1, "all of it waits in the outbox")
                check({one["state"] for one in pending} == {"queued"}, "nothing is delivered yet")
            said["detail"] = f"{EACH + 1} messages wait on each of three devices"

    async def merging(self) -> tuple[float, int]:
        total = 3 * EACH + 1
        async with self.teller.step("The nodes start again, the friend's first") as said:
            for who in (self.friend, self.desktop, self.phone):
                await who.start()
            began = time.perf_counter()
            for who in self.everybody:
                await until(partial(self._holds, who, total), f"everything has reached the {who.name}")
            seconds = round(time.perf_counter() - began, 3)
            seen = [await who.messages(self.group) for who in self.everybody]
            first = [(one.id, one.text) for one in seen[0]]
            check(len(first) == total and len(set(first)) == total, "nothing is lost or doubled")
            check(all([(one.id, one.text) for one in other] == first for other in seen[1:]), "all read one order")

            async def alone(who: Actor) -> bool:
                texts = [one.text for one in await who.messages(self.direct)]
                return sorted(texts) == sorted(f"written alone on the {one.name}" for one in self.everybody)

            for who in self.everybody:
                await until(partial(alone, who), f"the direct chat is whole on the {who.name}")
            said["detail"] = f"{total} messages, one order on all three, {seconds:.2f} s after the last node was ready"
        return seconds, total + 3

    async def phone_off(self) -> None:
        async with self.teller.step("The phone goes off; desktop and friend write on") as said:
            await self.phone.stop()
            await self.desktop.ask("send", self.direct, "the phone is off")
            await self._arrives(self.friend, "the phone is off")
            await self.friend.ask("send", self.direct, "and still I hear you")
            await self._arrives(self.desktop, "and still I hear you")
            said["detail"] = "both messages arrived"

    async def _arrives(self, who: Actor, text: str) -> None:
        async def there() -> bool:
            return any(one.text == text for one in await who.messages(self.direct))

        await until(there, f"{text!r} reaches the {who.name}")

    async def searching(self) -> float:
        async with self.teller.step("Words are found on each device") as said:
            texts = [one.text for one in await self.friend.messages(self.group)]
            words = words_to_find(texts, 5)
            await self.phone.start()
            times: list[float] = []
            for who in self.everybody:
                for word, expected in words.items():
                    hits = await who.node.search(word, chat=self.group)
                    check(hits.total == expected, f"{who.name} finds {word!r} {expected} times, not {hits.total}")
                    times.append(hits.took_ms)
            median = round(statistics.median(times), 2)
            said["detail"] = f"{', '.join(words)}: as a plain scan counts them, median {median:.1f} ms"
        return median

    async def delivered(self) -> None:
        async with self.teller.step("The outboxes are empty: all is delivered") as said:
            for who in self.everybody:
                await until(partial(self._outbox_is_empty, who), f"the outbox of the {who.name} empties")
            said["detail"] = "nothing waits anywhere"

    async def _outbox_is_empty(self, who: Actor) -> bool:
        return not (await who.node.outbox()).pending
