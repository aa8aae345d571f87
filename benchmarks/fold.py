"""What one message costs on its way from verified blocks to its row, in microseconds of CPU: `python -m
benchmarks.fold`.

The way in alone, on the store in memory: open, guard, facts, fold, row.  Alone: one message a commit, as in a
conversation.  Together: 250 a commit, as in a merge.
"""

from __future__ import annotations

import json
from random import Random
from time import process_time

from crdt.docs.chat import Message
from crdt.log.merkle import Leaf, leaf_of
from identity.kem import Kem
from identity.phrase import new_phrase, phrase_keys
from identity.statement import root_certificate
from sync.account.account import new_account
from sync.engine.profile import Profile, found_profile
from sync.store.memory import MemoryStore

NOW_MS = 1_790_000_000_000
COUNT = 2000


def measure(seed: int = 1, count: int = COUNT, kem: Kem | None = None) -> dict[str, float]:
    """Microseconds of CPU a message: `alone_us` and `together_us`, the better of three runs."""
    rng = Random(seed).randbytes
    keys = phrase_keys(new_phrase(rng))
    account = new_account(keys.root.public, "phone", rng, NOW_MS / 1000)
    own, born = account.keys, NOW_MS // 1000
    certificate = root_certificate(keys.root, own.signing, own.agreement.public, created=born, generation=born)
    account = type(account)(keys.root.public, own, account.transports, "phone")
    store = MemoryStore()
    found_profile(store, account, [certificate], keys.recovery.public, "Ada", NOW_MS, rng, kem)
    reader = store.reopen(None)
    writer = Profile(store, rng, kem)
    notes = next(space for space in writer.spaces.values() if not space.personal)
    mine = notes.mine
    if mine is None:
        raise ValueError("a chat of one's own has a feed")
    start = mine.length
    writer.write(notes, [[Message(n.to_bytes(16, "big"), f"message {n}")] for n in range(count)], NOW_MS)
    writer.commit(NOW_MS)
    blocks = list(notes.feed_store.blocks(mine.writer, start, mine.length, 1 << 30))
    found = {}
    for name, size in (("alone_us", 1), ("together_us", 250)):
        times = []
        for _ in range(3):
            profile = Profile(reader.reopen(None), Random(2).randbytes, kem)
            space = profile.spaces[notes.id]
            began = process_time()
            for at in range(0, len(blocks), size):
                part = [block for block in blocks[at : at + size] if isinstance(block, bytes)]
                leaves: list[Leaf] = [leaf_of(block) for block in part]
                known = space.feed_store.tree(mine.writer)
                tree, nodes = known.extend(leaves)
                space.inbound.absorb(mine.writer, start + at, part, leaves, tree, nodes, None, NOW_MS + 9)
                profile.commit(NOW_MS + 9)
            times.append((process_time() - began) / len(blocks) * 1e6)
        found[name] = round(min(times), 1)
    return found


if __name__ == "__main__":
    print(json.dumps(measure()))
