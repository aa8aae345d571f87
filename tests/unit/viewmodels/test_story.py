"""What people do in the windows, without windows: two or three apps over real UDP."""

from __future__ import annotations

import asyncio
from pathlib import Path

import segno

from apps.viewmodels.app import Stage
from apps.viewmodels.approval import ApprovalStep
from apps.viewmodels.pages import PageKind
from tests.unit.viewmodels.stage import SECRET, friends, home, note_words, person, stage_of, started, until


def test_first_run_shows_recovery_words_once_and_opens_the_profile(tmp_path: Path) -> None:
    async def story() -> None:
        async with started(tmp_path / "ada", given=None) as app:
            assert app.state.stage is Stage.WELCOME
            app.choose(Stage.CREATE)
            create = app.create
            assert create.state.asks_passphrase
            await create.create("Ada", "short", "short")
            assert create.state.problem == "Choose a passphrase of at least 8 characters."
            await create.create("Ada", SECRET, SECRET + "x")
            assert create.state.problem == "The passphrases do not match."
            await create.create(" ", SECRET, SECRET)
            assert create.state.problem == "A name is needed here."
            await create.create("Ada", SECRET, SECRET)
            assert (len(create.state.words), create.state.problem) == (24, "")
            app.choose(Stage.WELCOME)  # the words must be noted first
            assert stage_of(app) is Stage.CREATE
            create.noted()
            words = create.state.words
            first = create.state.asked
            await create.answer("zebra" if words[first - 1] != "zebra" else "abandon")
            assert create.state.problem == f"That is not word {first}. Look at what you wrote down."
            create.again()
            create.noted()
            asked = []
            while create.state.asked:
                asked.append(create.state.asked)
                await create.answer(f" {words[create.state.asked - 1].upper()} ")
            assert len(asked) == 3 and asked == sorted(set(asked))
            assert create.state.words == ()
            session = home(app)
            assert [row.title for row in session.chats.state.rows] == ["Notes to self"]
            assert session.devices.state.name == "Ada"
            assert [(device.name, device.about) for device in session.devices.state.devices] == [
                ("phone", "This device")
            ]

    asyncio.run(story())


def test_locked_profile_asks_until_the_passphrase_is_right(tmp_path: Path) -> None:
    async def story() -> None:
        async with person(tmp_path / "ada", "Ada"):
            pass
        async with started(tmp_path / "ada", given=None) as app:
            assert app.state.stage is Stage.LOCKED
            await app.unlock.unlock("")
            assert app.unlock.state.problem == "Enter your passphrase."
            await app.unlock.unlock("wrong horse")
            assert app.unlock.state.problem and app.state.stage is Stage.LOCKED
            await app.unlock.unlock(SECRET)
            assert home(app).chats.state.loaded

    asyncio.run(story())


def test_second_window_on_a_profile_uses_the_node_of_the_first(tmp_path: Path) -> None:
    async def story() -> None:
        async with person(tmp_path / "ada", "Ada") as first, started(tmp_path / "ada", "desktop") as app:
            second = home(app)
            notes = first.chats.state.rows[0].id
            await first.show_chat(notes)
            await second.show_chat(notes)
            await second.chat(notes).send("remember the milk")
            await until(lambda: [b.text for b in first.chat(notes).state.bubbles] == ["remember the milk"])

    asyncio.run(story())


def test_two_contacts_send_edit_react_reply_delete_and_search(tmp_path: Path) -> None:
    async def story() -> None:
        async with person(tmp_path / "ada", "Ada") as ada, person(tmp_path / "bob", "Bob") as bob:
            chat = await friends(ada, bob)
            assert bob.pages.state.top.kind is PageKind.CHAT
            theirs, mine = bob.chat(chat), ada.chat(chat)
            await ada.show_chat(chat)
            assert (mine.state.title, theirs.state.title) == ("Bob", "Ada")

            await mine.send("hello *Bob* [b]not bold[/b]")
            await until(lambda: [b.text for b in theirs.state.bubbles] == ["hello *Bob* [b]not bold[/b]"])
            await until(lambda: mine.state.bubbles[0].state == "delivered")
            await bob.chats.settled()
            assert [row.badge for row in bob.chats.state.rows if row.id == chat] == ["1"]

            theirs.visible(True)  # seen: the badge goes, and Ada hears of it
            await until(lambda: mine.state.bubbles[0].state == "read")
            await until(lambda: [row.badge for row in bob.chats.state.rows if row.id == chat] == [""])

            hello = theirs.state.bubbles[0].id
            await theirs.react(hello, "👍")
            theirs.reply(hello, "")
            assert theirs.state.quoted is not None and theirs.state.quoted.author == "Ada"
            await theirs.send("hi Ada")
            assert (theirs.state.reply_to, theirs.state.draft) == ("", "")
            await until(lambda: len(mine.state.bubbles) == 2 and bool(mine.state.bubbles[0].reactions))
            assert [(r.emoji, r.count, r.mine) for r in mine.state.bubbles[0].reactions] == [("👍", 1, False)]
            quote = mine.state.bubbles[1].quote
            assert quote is not None and quote.author == "You"

            answer = theirs.state.bubbles[1].id
            theirs.begin_edit(answer)
            assert (theirs.state.editing, theirs.state.draft) == (answer, "hi Ada")
            await theirs.send("hi Ada!")
            await until(lambda: mine.state.bubbles[1].text == "hi Ada!" and mine.state.bubbles[1].edited)
            await theirs.delete(answer, everyone=True)
            await until(lambda: mine.state.bubbles[1].deleted)
            assert mine.state.bubbles[1].text == "This message was deleted"

            ada.search.look_for("bob")
            await ada.search.settled()
            await until(lambda: _searched(ada.search.state.summary))
            assert [found.snippet for found in ada.search.state.found] == ["hello *Bob* [b]not bold[/b]"]
            ada.search.look_for("unheard")
            await ada.search.settled()
            assert ada.search.state.summary == "No messages found"
            ada.search.look_for("%")
            await ada.search.settled()
            assert (ada.search.state.found, ada.search.state.problem) == ((), "")

    asyncio.run(story())


def _searched(summary: str) -> bool:
    return summary == "1 message"


def test_desktop_is_linked_with_a_picture_of_its_qr_code(tmp_path: Path) -> None:
    async def story() -> None:
        async with (
            person(tmp_path / "ada", "Ada") as ada,
            started(tmp_path / "desk", "desktop", given=None) as desktop,
        ):
            notes = ada.chats.state.rows[0].id
            await ada.show_chat(notes)
            await ada.chat(notes).send("from before the desktop")

            desktop.choose(Stage.LINK)
            linking = asyncio.create_task(desktop.link.begin("Desk", SECRET, SECRET))
            await until(lambda: bool(desktop.link.state.text))
            picture = tmp_path / "screen.png"
            segno.make(desktop.link.state.text.upper(), error="m").save(str(picture), scale=4)

            await ada.show(PageKind.DEVICE)
            await ada.approve.read("kithkin:invite/AAAA")
            assert ada.approve.state.problem and not ada.approve.state.grants
            await ada.approve.read_picture(str(tmp_path / "nothing.png"))
            assert ada.approve.state.problem == "File not found."
            await ada.approve.read_picture(str(picture))
            assert ada.approve.state.problem == ""
            assert any("history" in sentence for sentence in ada.approve.state.grants)
            confirming = asyncio.create_task(ada.approve.confirm())
            await until(lambda: ada.approve.state.step is ApprovalStep.DIGITS)
            digits = ada.approve.state.digits

            await desktop.link.submit("12")
            assert desktop.link.state.problem == "Type the six digits that your other device shows."
            await desktop.link.submit(str((int(digits) + 1) % 1_000_000).zfill(6))
            assert desktop.link.state.problem == "Wrong digits. You have 2 tries left."
            await desktop.link.submit(digits[:3] + " " + digits[3:])
            await confirming
            await linking
            assert ada.approve.state.step is ApprovalStep.DONE
            desk = home(desktop)
            await until(lambda: desk.devices.state.name == "Ada")
            await desk.show_chat(notes)
            await until(lambda: [b.text for b in desk.chat(notes).state.bubbles] == ["from before the desktop"])
            await until(lambda: {d.name for d in ada.devices.state.devices} == {"phone", "Desk"})

    asyncio.run(story())


def test_cancelled_linking_leaves_no_profile_behind(tmp_path: Path) -> None:
    async def story() -> None:
        async with started(tmp_path / "desk", "desktop") as app:
            app.choose(Stage.LINK)
            linking = asyncio.create_task(app.link.begin("", "", ""))
            await until(lambda: bool(app.link.state.text))
            app.choose(Stage.WELCOME)
            await asyncio.gather(linking, return_exceptions=True)
            assert (app.state.stage, app.link.state.text) == (Stage.WELCOME, "")
            assert not (tmp_path / "desk").exists()

    asyncio.run(story())


def test_invited_contact_joins_a_group_and_sends(tmp_path: Path) -> None:
    async def story() -> None:
        async with person(tmp_path / "ada", "Ada") as ada, person(tmp_path / "bob", "Bob") as bob:
            await friends(ada, bob)
            await ada.show(PageKind.GROUP)
            assert [(p.name, p.chosen) for p in ada.group.state.people] == [("Bob", False)]
            await ada.group.create("")
            assert ada.group.state.problem == "Give the group a title."
            ada.group.toggle(ada.group.state.people[0].id)
            await ada.group.create("Mountain trip")
            group = ada.pages.state.top.id
            assert ada.chat(group).state.title == "Mountain trip"
            await ada.chat(group).send("who comes along?")

            await until(lambda: any(row.invited for row in bob.chats.state.rows))
            invitation = bob.chats.state.rows[0]
            assert (invitation.title, invitation.preview) == ("Mountain trip", "You are invited to this group")
            await bob.show_chat(invitation.id)
            theirs = bob.chat(invitation.id)
            assert (theirs.state.state, theirs.state.bubbles) == ("invited", ())
            await theirs.join()
            await until(lambda: theirs.state.state == "active" and not theirs.state.problem)
            await ada.show(PageKind.MEMBERS, group)
            await until(lambda: [m.about for m in ada.members.state.members] == ["creator", ""])

            await until(lambda: theirs.state.subtitle == "2 members")  # before: "Joining…", nothing can be written yet
            await theirs.send("me")
            assert not theirs.state.problem
            await until(lambda: len(ada.chat(group).state.bubbles) == 2)
            assert [(b.text, b.author, b.mine) for b in ada.chat(group).state.bubbles] == [
                ("who comes along?", "", True),
                ("me", "Bob", False),
            ]

            # The creator removes the member from the page of members: asked first, then told on both sides.
            me, them = ada.members.state.members
            ada.members.choose(me.id)
            assert not ada.members.state.may_remove
            ada.members.choose(them.id)
            assert (ada.members.state.may_remove, ada.members.state.may_promote) == (True, True)
            await ada.members.remove()
            assert ada.members.state.members[1].about == "", "nothing is done before it is asked"
            ada.members.ask_to_remove()
            assert ada.members.state.asks.startswith("Remove Bob from this group?")
            await ada.members.remove()
            assert [m.about for m in ada.members.state.members] == ["creator", "was removed"]
            assert (ada.members.state.chosen, ada.members.state.asks) == ("", "")
            await until(lambda: theirs.state.state == "removed")

    asyncio.run(story())


def test_fresh_link_is_undone_from_its_notice_and_a_lost_device_is_shut_out(tmp_path: Path) -> None:
    async def story() -> None:
        async with (
            started(tmp_path / "ada") as app,
            started(tmp_path / "desk", "desktop", given=None) as desktop,
        ):
            await app.create.create("Ada", "", "")
            words = " ".join(app.create.state.words)
            await note_words(app)
            ada = home(app)
            desktop.choose(Stage.LINK)
            linking = asyncio.create_task(desktop.link.begin("Desk", SECRET, SECRET))
            await until(lambda: bool(desktop.link.state.text))
            await ada.show(PageKind.DEVICE)
            await ada.approve.read(desktop.link.state.text)
            confirming = asyncio.create_task(ada.approve.confirm())
            await until(lambda: ada.approve.state.step is ApprovalStep.DIGITS)
            await desktop.link.submit(ada.approve.state.digits)
            await confirming
            await linking
            devices = ada.devices
            await until(lambda: bool(devices.state.fresh))
            assert devices.state.notice == 'A new device was linked: "Desk"'
            fresh = devices.state.fresh
            await devices.ask(fresh)
            question = devices.state.question
            assert question is not None and (question.id, question.name) == (fresh, "Desk")
            assert any("read what people write until they hear of this" in effect for effect in question.effects)
            devices.keep()
            assert (devices.state.question, devices.state.fresh) == (None, "")
            await devices.ask(next(device.id for device in devices.state.devices if device.this))
            assert devices.state.question is None  # this one is shut out from another
            await devices.ask(fresh)
            await devices.shut_out()
            await until(lambda: [d.about for d in devices.state.devices if d.id == fresh] == ["Shut out"])
            theirs = home(desktop).devices
            await until(lambda: "shut out of your account" in theirs.state.notice)
            # What the words keep is chosen by switches, beside the ids.
            devices.choose()
            assert [(d.about, d.kept) for d in devices.state.devices] == [("This device", True), (fresh, False)]
            await devices.ask(fresh)
            assert [d.kept for d in devices.state.devices] == [True, True]
            await devices.keep_chosen("these are not the words")
            assert devices.state.choosing and "word" in devices.state.problem
            await devices.keep_chosen(words)
            assert devices.state.choosing and "linked anew" in devices.state.problem
            devices.toggle(fresh)
            await devices.keep_chosen(words)
            assert (devices.state.choosing, devices.state.problem) == (False, "")
            assert [d.about for d in devices.state.devices] == ["This device", "Shut out"]

    asyncio.run(story())


def test_a_chat_is_deleted_in_the_window_after_a_question(tmp_path: Path) -> None:
    async def story() -> None:
        async with person(tmp_path / "ada", "Ada") as ada:
            (notes,) = ada.chats.state.rows
            await ada.show_chat(notes.id)
            await ada.chat(notes.id).send("kelp canary")
            await ada.show(PageKind.MEMBERS, notes.id)
            await ada.delete_chat()
            pages = [len(ada.pages.state.pages)]
            assert pages == [3], "nothing is done before it is asked"
            ada.members.ask_to_delete(True)
            assert "What others hold stays with them" in ada.members.state.deletes
            ada.members.ask_to_delete(False)
            await ada.delete_chat()
            ada.members.ask_to_delete(True)
            await ada.delete_chat()
            pages.append(len(ada.pages.state.pages))
            assert pages == [3, 1]
            await ada.show_chat(notes.id)
            assert ada.chat(notes.id).state.bubbles == ()

    asyncio.run(story())


def test_a_profile_is_erased_in_the_window_and_another_can_be_made(tmp_path: Path) -> None:
    async def story() -> None:
        async with started(tmp_path / "ada") as app:
            await app.create.create("Ada", "", "")
            await note_words(app)
            app.set_dark(True)
            await app.erase()
            assert (app.state.stage, app.state.session, app.state.problem) == (Stage.WELCOME, None, "")
            assert not (tmp_path / "ada").exists()
            app.choose(Stage.CREATE)
            await app.create.create("Ada again", "", "")
            await note_words(app)
            assert home(app).devices.state.name == "Ada again"

    asyncio.run(story())


def test_words_recover_an_identity_in_the_window(tmp_path: Path) -> None:
    async def story() -> None:
        async with started(tmp_path / "ada") as app:
            await app.create.create("Ada", "", "")
            words = " ".join(app.create.state.words)
            await note_words(app)
            identity = home(app).devices.state.identity
        async with started(tmp_path / "new") as app:
            app.choose(Stage.RECOVER)
            await app.recover.recover("Ada", words.replace(words.split()[4], "kithkin", 1), "", "")
            assert app.recover.state.problem == "Word 5 is not in the word list; check its spelling."
            await app.recover.recover("Ada", words, "", "")
            devices = home(app).devices
            assert devices.state.identity == identity
            assert [device.about for device in devices.state.devices] == ["This device"]

    asyncio.run(story())
