"""A member tells everybody that they were removed, and says it again on each new connection."""

from __future__ import annotations

from sync.engine.hello import OUT, encode_out
from tests.support.adversary import CLUB, Cast


def play(seed: str) -> None:
    cast = Cast(seed)
    for _ in range(3):
        for victim in cast.honest:
            mine = victim.space(CLUB).mine
            assert mine is not None
            body = encode_out(victim.space(CLUB).id, [mine.writer])
            for peer in cast.mal.engine.peers.values():
                if peer.device == victim.engine.profile.account.device:
                    cast.mal.do(lambda engine, peer=peer, body=body: peer.mux.send(peer.main, OUT, body))  # type: ignore[misc]
        cast.mal.restart()
        cast.world.settle()
    cast.promises()
    assert all(victim.engine.profile.view.chats[victim.space(CLUB).id].state == "active" for victim in cast.honest)
