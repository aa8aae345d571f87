"""Makes the update body of one entry: one pycrdt document, one transaction, the document kind in front.

`docs/protocol.md`, "Documents and the guard".  pycrdt makes the bytes and not `yjs.encode_update`, so that what we
publish is what a Yjs implementation writes; whoever publishes it runs it through the guard like anybody's.
"""

from __future__ import annotations

from collections.abc import Sequence

from pycrdt import Doc, Map

from crdt.docs.ids import client_id, writer_id
from crdt.docs.kinds import KINDS, MAX_STRUCTS, MAX_UPDATE, DocKind, body_head


def make_update(core: bytes, seq: int, kind: DocKind, values: Sequence[tuple[str, str]]) -> bytes:
    """The body of the update entry at `seq` of the feed `core`.

    values: (root, JSON text) pairs as `schema.dump_value` gives them, 1 to 64.  Raises ValueError for what the guard
    would refuse: too many values, an unknown root, text that has no UTF-8, an update over 192 KiB.
    """
    if not 1 <= len(values) <= MAX_STRUCTS:
        raise ValueError(f"an update holds 1 to {MAX_STRUCTS} values, not {len(values)}")
    roots = KINDS[kind].roots
    doc: Doc[Map[str]] = Doc(client_id=client_id(core, seq))
    prefix = f"{writer_id(core)}/{seq}/"
    with doc.transaction():
        for index, (root, json) in enumerate(values):
            if root not in roots:
                raise ValueError(f"no root {root!r} in {kind.name}")
            json.encode()  # a lone surrogate is an error here, not a panic there
            doc.get(root, type=Map)[f"{prefix}{index}"] = json
    update = doc.get_update()
    if len(update) > MAX_UPDATE:
        raise ValueError("the update is larger than 192 KiB")
    return body_head(kind) + update
