"""A contact floods with offers: of groups of his own, of groups that are not his, of the same one again and again."""

from __future__ import annotations

from crdt.docs.chat import Offer
from crdt.log.manifest import core_key
from crdt.space.rendezvous import space_id
from identity.keys import SigningKey
from sync.engine.tasks.offers import MAX_INVITED
from tests.support.adversary import CLUB, Cast


def play(seed: str) -> None:
    cast = Cast(seed)
    direct, rng = cast.mal.space(cast.ada), cast.mal.rng
    own = [SigningKey.generate(rng).public for _ in range(40)]
    club = cast.ada.space(CLUB)
    assert club.state.creator is not None
    creator = club.state.members[club.state.creator].writer
    for writer in own:
        cast.says(Offer(space_id(core_key(writer)), writer, "spam", rng(16)), space=direct)
    for _ in range(20):
        cast.says(Offer(space_id(core_key(own[0])), own[0], "spam", rng(16)), space=direct)
        cast.says(Offer(club.id, creator, CLUB, rng(16)), space=direct)
        cast.says(Offer(rng(32), creator, "not its id", rng(16)), space=direct)
    cast.world.settle()
    chats = cast.ada.engine.profile.view.chats.values()
    assert sum(chat.state == "invited" for chat in chats) <= MAX_INVITED
    cast.promises(bound=2 * MAX_INVITED + 8)
