"""Restarts: a group goes on in a new one, with everybody who stands in the old one.

Whoever restarts founds the new group and says so in the old one; members' devices go along by themselves where
`crdt.space.restart` says so, and ask where not.  Answers travel in the old group.  `docs/protocol.md`, "Restart".
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from crdt.docs.chat import MAX_PAST, OFFER_ID, Answer, Restart
from crdt.docs.own import OwnChat, OwnWriter
from crdt.docs.timeline import GroupTalk
from crdt.space.control import Admin, Op, Revoke, Set, SpaceKind
from crdt.space.restart import NOTHING, Judgement, judge, meant, people_there, sign_restart, verify_restart
from crdt.space.view import ADMIN
from identity.statement import MAX_STATEMENT_SET, MAX_STATEMENTS
from sync.account.context import new_writer
from sync.engine.effects import ChatChanged
from sync.engine.profile import Profile
from sync.engine.talks import group_talks
from sync.engine.tasks.offers import (
    MAX_INVITED,
    admitting_feeds,
    answer_again,
    answer_to,
    let_in,
    members_of,
)
from sync.space.epochs import found_space, open_epoch, write_control
from sync.space.space import Space

MAX_OPS = 60  # of one entry beside those that open_epoch adds
KEPT = ("history", "lifetime")  # settings that the new group begins with


def begin_restart(profile: Profile, old: Space, without: Collection[bytes], now_ms: int) -> Space:
    """Founds the new group, with the old one's title and settings, and says in the old one that it goes on there.
    The caller has asked `may_restart`."""
    mine = old.mine
    if mine is None:
        raise ValueError("a restart by a device that is not in the group")
    key = new_writer(profile.rng)
    new = profile.keep(found_space(profile.context, SpaceKind.GROUP, old.state.title, now_ms, key=key))
    kept: list[Op] = [Set(name, old.state.settings[name]) for name in KEPT if name in old.state.settings]
    open_epoch(new, now_ms, [*kept, *_words_of_loss(profile, old)][:MAX_OPS])
    if len(old.graph.tips()) > MAX_PAST:
        open_epoch(old, now_ms)  # one entry that joins them
    id_ = profile.rng(OFFER_ID)
    restart = Restart(
        new.id,
        old.id,
        key.public,
        id_,
        sign_restart(key, old.id, mine.core, id_),
        admitting_feeds(new),
        tuple(sorted(tip.hash for tip in old.graph.tips())),
        tuple(sorted(without)),
        _shown(profile, old),
    )
    profile.write(old, [[restart]], now_ms)
    _note(profile, new, OwnChat(new.id, state="active", title=old.state.title), restart, mine.core, old, now_ms)
    return new


def _words_of_loss(profile: Profile, old: Space) -> list[Op]:
    """What shows in the new group, to everybody and for good, that lost devices of the old one are out."""
    state, told = old.state, {}
    for writer in state.writers.values():
        identity = state.members[writer.member].identity
        if writer.open and (writer.out or profile.is_out(identity, writer.device)):
            told[writer.device] = profile.directory.evidence(identity, writer.device)
    return [Revoke(device, statements) for device, statements in sorted(told.items()) if statements]


def _shown(profile: Profile, old: Space) -> tuple[bytes, ...]:
    """Statements that show the devices of the old group's creator as out, as many as a value holds."""
    state, found = old.state, dict[bytes, None]()
    if state.creator is None:
        return ()
    identity = state.members[state.creator].identity
    for writer in state.writers.values():
        if writer.member == state.creator and writer.open and profile.is_out(identity, writer.device):
            found.update(dict.fromkeys(profile.directory.evidence(identity, writer.device)))
    fits = len(found) <= MAX_STATEMENTS and sum(map(len, found)) <= MAX_STATEMENT_SET
    return tuple(found) if fits else ()


def judged(profile: Profile, old: Space, core: bytes, restart: Restart) -> Judgement:
    """What this device makes of a restart that the feed `core` said in the old group."""
    if restart.old != old.id or any(old.graph.entry(tip) is None for tip in restart.past):
        return NOTHING  # of another group, or its author knew what is not here yet
    core = old.members.feed_of(core)
    if not verify_restart(restart.creator, restart.space, old.id, core, restart.id, restart.signature):
        return NOTHING
    unmeant = people_there(old.state, profile.is_out).keys() - meant(old.graph, restart.past, profile.is_out).keys()
    author = _author(old, core)  # who is in the new group whatever the tips say
    return judge(old.state, core, {*restart.without, *(one for one in unmeant if one != author)}, profile.is_out)


def take_restarts(profile: Profile, old: Space, connected: Collection[bytes], now_ms: int) -> None:
    """What was said in a group about going on in another one: mine are served, those of others are joined, asked about
    or left."""
    mine = old.mine
    if old.kind is not SpaceKind.GROUP or mine is None or not old.may_write:
        return
    me = members_of(old, profile.account.identity)
    for talk in group_talks(profile, old).values():
        for (core, _), (restart, seq) in talk.restarts.items():
            author = old.state.member(old.members.feed_of(core))
            if author is None:
                continue
            people = {m.identity for m in old.state.members.values()}
            profile.directory.learn(restart.statements, only=people, by=old.id)
            if author.identity == profile.account.identity:
                _serve(profile, old, (core, seq), talk, restart, connected, now_ms)
            else:
                _take(profile, old, core, talk, restart, me, now_ms)


def _take(
    profile: Profile, old: Space, core: bytes, talk: GroupTalk, restart: Restart, me: set[bytes], now_ms: int
) -> None:
    """A restart by somebody else."""
    if any((member, restart.id) in talk.declined for member in me):
        return
    for by, answer in talk.answers.get(restart.id, {}).values():
        if by in me:
            answer_again(profile, old, restart.offer(), answer, now_ms)
            return
    chat = profile.view.chats.get(restart.space)
    if chat is not None and (chat.state != "invited" or chat.old != old.id):
        return  # a group that I am in, or was, is none that another goes on in
    found = judged(profile, old, core, restart)
    if not found.counts:
        if chat is not None and chat.peer == _author(old, core):
            profile.note(now_ms, OwnChat(restart.space, state="declined"))
            profile.effects.append(ChatChanged(restart.space))
    elif profile.account.identity in found.left_out:
        return
    elif found.joins:
        go_along(profile, old, core, restart, now_ms)
    elif chat is None and _asked(profile, old) < MAX_INVITED:
        asks = OwnChat(restart.space, state="invited", title=old.state.title)
        _note(profile, None, asks, restart, core, old, now_ms)


def go_along(profile: Profile, old: Space, core: bytes, restart: Restart, now_ms: int) -> None:
    """Says yes to a restart, in the old group."""
    answer = answer_to(profile, restart.offer())
    profile.write(old, [[answer]], now_ms)
    active = OwnChat(restart.space, state="active", title=old.state.title)
    _note(profile, profile.space(restart.space), active, restart, core, old, now_ms)


def _note(
    profile: Profile, new: Space | None, chat: OwnChat, restart: Restart, core: bytes, old: Space, now_ms: int
) -> None:
    """The new group, and this device's feed in it, for my other devices."""
    account, mine = profile.account, new.mine if new is not None else None
    who = _author(old, core)
    values: list[OwnChat | OwnWriter] = [
        replace(chat, on=True, kind="group", creator=restart.creator, peer=who, old=old.id)
    ]
    if mine is not None:
        prekey = account.keys.prekey.public
        values.append(OwnWriter(chat.space, mine.writer, on=True, device=account.device, prekey=prekey))
    if new is not None and new.z is not None:
        values.append(OwnChat(chat.space, rendezvous=new.z))
    profile.note(now_ms, *values)
    profile.effects += [ChatChanged(chat.space), ChatChanged(old.id)]


def _author(old: Space, core: bytes) -> bytes | None:
    member = old.state.member(old.members.feed_of(core))
    return member.identity if member is not None else None


def _asked(profile: Profile, old: Space) -> int:
    """How many questions about this group wait for an answer."""
    return sum(chat.state == "invited" and chat.old == old.id for chat in profile.view.chats.values())


def _serve(
    profile: Profile,
    old: Space,
    place: tuple[bytes, int],
    talk: GroupTalk,
    restart: Restart,
    connected: Collection[bytes],
    now_ms: int,
) -> None:
    """A restart of mine, said last at that place: whoever is meant and said yes is let in, once, with the role of the
    old group."""
    new = profile.spaces.get(restart.space)
    if new is None or not new.may_write:
        return
    said_no = {old.state.members[member].identity for member, id_ in talk.declined if id_ == restart.id}
    if profile.account.identity in said_no:
        return
    answers: dict[bytes, list[Answer]] = {}
    for by, answer in {id(answer): (by, answer) for by, answer in talk.answers.get(restart.id, {}).values()}.values():
        answers.setdefault(old.state.members[by].identity, []).append(answer)
    waiting = set()
    for identity, member in meant(old.graph, restart.past, profile.is_out).items():
        if identity in restart.without or identity in said_no or members_of(new, identity):
            continue
        for answer in answers.get(identity, ()):
            profile.directory.learn(answer.statements, only=(identity,), by=old.id)
            added = let_in(profile, new, identity, answer, restart.offer(), connected, now_ms)
            if added is not None:
                if member.rank <= ADMIN:
                    write_control(new, [Admin(added)], now_ms)
                break
        else:
            waiting.add(identity)
    if old.mine is not None and old.mine.core == place[0]:
        _say_again(profile, old, new, place, restart, waiting, now_ms)


def _say_again(
    profile: Profile,
    old: Space,
    new: Space,
    place: tuple[bytes, int],
    restart: Restart,
    waiting: Collection[bytes],
    now_ms: int,
) -> None:
    """A restart is said once more where devices of mine came in since, which can let people in as well; and where
    somebody is meant who came back after it was said, and cannot read it."""
    mine, feeds = new.mine, admitting_feeds(new)
    more = mine is not None and restart.feeds[0] == mine.writer and not set(feeds) <= set(restart.feeds)
    said_under, next_under = old.epoch_keys.keyring.epoch_of(*place), old.epoch_keys.in_use(now_ms)
    if said_under is not None and said_under in old.state.epochs:
        deaf = set(waiting) - _readers(old, said_under)
        more = more or bool(deaf if next_under is None else deaf & _readers(old, next_under.id))
    if more:
        profile.write(old, [[replace(restart, feeds=feeds or restart.feeds)]], now_ms)


def _readers(old: Space, epoch: bytes) -> set[bytes]:
    """Identities of those who can read what is sealed under an epoch."""
    places = {place.writer for place in old.state.epochs[epoch].roster}
    return {old.state.members[w.member].identity for w in old.state.writers.values() if w.writer in places}
