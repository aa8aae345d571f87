"""Restarts of groups: going on in a new group, and the sentences that say what a restart means for this person.

Devices go along by themselves where that is safe (`sync.engine.tasks.restarts`); here is what people decide.
"""

from __future__ import annotations

from collections.abc import Sequence

from crdt.docs.chat import MAX_WITHOUT, Decline, Restart
from crdt.docs.own import OwnChat
from crdt.space.control import SpaceKind
from crdt.space.restart import Doubt, Judgement, judge, may_restart, meant
from identity.errors import KithkinError
from sync.engine.effects import ChatChanged
from sync.engine.profile import Profile
from sync.engine.talks import group_talks
from sync.engine.tasks.offers import members_of
from sync.engine.tasks.restarts import begin_restart, go_along, judged
from sync.engine.twins import listed_id
from sync.service import models
from sync.service.domain import Domain, commits
from sync.service.ids import chat_id, find_participant, find_space
from sync.service.messages import writable
from sync.service.names import person_name
from sync.space.space import Space

NAMED = 3  # people whom a sentence names

ASKS = {
    Doubt.NO_LOSS: "nothing shows that the devices of the creator are lost",
    Doubt.RANK: "the creator or an admin is there",
    Doubt.LEFT_OUT: "somebody who is there is left out",
}


class RestartCalls(Domain):
    """The calls about restarts."""

    @commits
    def chat_restart(self, chat: str, without: Sequence[str] = ()) -> models.Restarted:
        """Goes on in a new group with everybody but those left out."""
        profile, now_ms = self._profile, self._now_ms
        old = writable(profile, find_space(profile, chat))
        mine = old.mine
        if old.kind is not SpaceKind.GROUP or mine is None:
            raise KithkinError("not_allowed", "That is possible in groups only.")
        left_out = {find_participant(profile, old, one) for one in without}
        if profile.account.identity in left_out:
            raise KithkinError("not_allowed", "You can't leave yourself out; leave the chat instead.")
        if len(left_out) > MAX_WITHOUT:
            raise KithkinError("too_many_members", f"At most {MAX_WITHOUT} people can be left out.")
        if not may_restart(old.state, mine.core, profile.is_out):
            raise KithkinError("not_allowed", "Only the creator and admins restart a chat while one of them is there.")
        found = judge(old.state, mine.core, left_out, profile.is_out)
        begin_restart(profile, old, left_out, now_ms)
        return models.Restarted(chat=chat_id(listed_id(profile, old.id)), asks=why_asked(found))


def awaited(profile: Profile, space: Space) -> dict[bytes, Space]:
    """People whom a restart means and who have not come into the new group yet, as far as is known here, each with the
    old group, in which they told their names."""
    chat = profile.view.chats.get(space.id)
    old = profile.spaces.get(chat.old) if chat is not None and chat.old is not None else None
    talk = group_talks(profile, old).get(space.id) if old is not None else None
    if old is None or talk is None:
        return {}
    ever = {member.identity for member in space.state.members.values()}
    no = {old.state.members[member].identity for member, _ in talk.declined}
    found: dict[bytes, None] = {}
    for (core, _), (restart, _) in talk.restarts.items():
        if judged(profile, old, core, restart).counts:
            people = meant(old.graph, restart.past, profile.is_out)
            found.update(dict.fromkeys(one for one in people if one not in restart.without))
    return {one: old for one in sorted(found) if one not in ever | no}


def why_asked(found: Judgement) -> str:
    """A sentence for whoever restarts; empty where everybody goes along."""
    reasons = [text for doubt, text in ASKS.items() if doubt in found.doubts]
    return f"The others are asked first: {' and '.join(reasons)}." if reasons else ""


def is_restart(profile: Profile, chat: OwnChat) -> bool:
    """Whether an invitation is one to go on with a chat of mine, which is answered in that chat."""
    try:
        _open_restart(profile, chat)
    except KithkinError:
        return False
    return True


def answer_restart(profile: Profile, chat: OwnChat, now_ms: int) -> None:
    """Yes to an invitation to go on in a new group.  Raises `not_allowed`."""
    old, core, restart = _open_restart(profile, chat)
    go_along(profile, writable(profile, old), core, restart, now_ms)


def refuse_restart(profile: Profile, chat: OwnChat, now_ms: int) -> None:
    """No to it: the old group stays as it is for me.  Raises `not_allowed`."""
    old, _, restart = _open_restart(profile, chat)
    profile.write(writable(profile, old), [[Decline(chat.space, restart.id)]], now_ms)
    profile.note(now_ms, OwnChat(chat.space, state="declined"))
    profile.effects.append(ChatChanged(chat.space))


def _open_restart(profile: Profile, chat: OwnChat) -> tuple[Space, bytes, Restart]:
    """The old group, the feed that said it there, and what it said.  Raises `not_allowed`."""
    old = profile.spaces.get(chat.old) if chat.old is not None else None
    talk = group_talks(profile, old).get(chat.space) if old is not None else None
    me = members_of(old, profile.account.identity) if old is not None else ()
    for (core, _), (restart, _) in talk.restarts.items() if talk is not None else ():
        if talk is not None and talk.replied(me, restart.id):
            continue  # good for one coming-in: whoever was removed or said no comes back by an offer
        if old is not None and judged(profile, old, core, restart).counts:
            return old, core, restart
    raise KithkinError("not_allowed", "Nobody offers you that chat any more.")


def notice_of(profile: Profile, chat: OwnChat, space: Space | None) -> tuple[str, bool]:
    """What a person should know about a restart of this chat, empty where there is nothing; and whether it is for them
    to restart it.  space: the group in which it goes on."""
    if chat.kind != "group" or profile.out:
        return "", False
    if chat.state == "invited":
        return (_question(profile, chat) if chat.old is not None else ""), False
    if space is None or space.mine is None or not space.may_write:
        return "", False
    if told := _left_behind(profile, space):
        return told, False
    told = _vacant(profile, space)
    return told, bool(told)


def _question(profile: Profile, chat: OwnChat) -> str:
    try:
        old, core, restart = _open_restart(profile, chat)
    except KithkinError:
        return ""
    found = judged(profile, old, core, restart)
    who = person_name(profile, chat.peer, old) if chat.peer is not None else "Somebody"
    said = f"{who} wants to go on with this chat in a new group"
    if found.left_out:
        said += f", without {_names(profile, old, found.left_out)}"
    if Doubt.NO_LOSS in found.doubts:
        said += ", though nothing shows that the devices of its creator are lost"
    if Doubt.RANK in found.doubts:
        said += ", though the creator or an admin is there"
    return said + "."


def _left_behind(profile: Profile, space: Space) -> str:
    """Somebody who may went on without me."""
    for talk in group_talks(profile, space).values():
        for (core, _), (restart, _) in talk.restarts.items():
            found = judged(profile, space, core, restart)
            author = space.state.member(space.members.feed_of(core))
            if author is not None and found.counts and profile.account.identity in found.left_out:
                name = person_name(profile, author.identity, space)
                return f"{name} went on with this chat in a new group, without you."
    return ""


def _vacant(profile: Profile, space: Space) -> str:
    """Whoever holds a lost device of the creator may still change who is in this group."""
    mine, state = space.mine, space.state
    if mine is None or state.creator is None or not may_restart(state, mine.core, profile.is_out):
        return ""
    if Doubt.NO_LOSS in judge(state, mine.core, (), profile.is_out).doubts:
        return ""
    name = person_name(profile, state.members[state.creator].identity, space)
    return (
        f"The devices with which {name} made this group are lost, and nobody can take its rights from them. "
        "Restart the group: it goes on with everybody else."
    )


def _names(profile: Profile, old: Space, people: Sequence[bytes]) -> str:
    """Names for a sentence: a few, and how many more."""
    mine = profile.account.identity
    named = ["you" if one == mine else person_name(profile, one, old) for one in people[:NAMED]]
    more = len(people) - len(named)
    if more:
        named.append(f"{more} more")
    return named[0] if len(named) == 1 else f"{', '.join(named[:-1])} and {named[-1]}"
