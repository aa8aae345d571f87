"""A transcript that one person forged verifies like a real one of the same words, and nothing tells them apart."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from crdt.space.control import SpaceKind
from sync.service import forging
from sync.service.names import person_name
from sync.service.times import show_time
from sync.service.transcripts import write_feeds
from sync.space import timeline
from sync.space.space import Space
from tests.support.device import Device
from tests.support.streams import stream
from tests.support.transcript_checker import Found, Refused, check
from tests.support.world import World

TALK = (
    *(("Ada", "shall we meet?"), ("Ada", "at the lake"), ("Bob", "yes"), ("Ada", "x" * 700), ("Bob", "y" * 3000)),
    *(("Bob", "I bring bread"), ("Ada", "and I the kettle"), ("Bob", "until then"), ("Ada", "until then")),
)
MINUTES = 90.0  # seconds between two lines


def transcript(space: Space) -> bytes:
    file = io.BytesIO()
    write_feeds(space.feed_store, file)
    return file.getvalue()


def held_talk(talk: tuple[tuple[str, str], ...], world: World, *people: Device, chat: str | None = None) -> None:
    """Each reads before answering."""
    of = {person.owner: person for person in people}
    for name, text in talk:
        world.run(MINUTES)
        speaker = of[name]
        where = chat or next(person for person in people if person is not speaker)
        speaker.read(where)
        world.run(1.0)
        speaker.send(where, text)
        world.settle()


def said_in(space: Space, device: Device, folder: Path) -> Path:
    """The lines of a chat as `export` gives them."""
    profile = device.engine.profile
    lines = []
    for row in timeline.page(profile.store, space.id, 1000):
        name = person_name(profile, space.state.members[row.member].identity, space)
        lines.append(json.dumps({"at": show_time(row.at), "from": name, "text": row.text}))
    path = folder / "lines.jsonl"
    path.write_text("\n".join(lines))
    return path


def forged(device: Device, space: Space, path: Path, seed: str) -> bytes:
    roles = forging.cast_of(device.engine.profile, space)
    script = forging.script_of(space.kind, "club" if space.kind is SpaceKind.GROUP else "", roles, path)
    return transcript(forging.forge(script, stream(seed), device.kem))


def form(found: Found) -> dict[str, object]:
    """Everything that could tell two transcripts apart and is no key, hash or moment."""
    return {
        "said": found.said,
        "identities": found.identities,
        "signatures": found.signatures,
        "entries": found.shape,
        "sizes": found.sizes,
    }


@pytest.mark.parametrize("forger", ["Ada", "Bob"])
def test_a_forged_transcript_of_a_direct_chat_cannot_be_told_from_the_real_one(forger: str, tmp_path: Path) -> None:
    world = World("forged")
    ada, bob = world.person("Ada"), world.person("Bob")
    world.friends(ada, bob)
    held_talk(TALK, world, ada, bob)
    device = {"Ada": ada, "Bob": bob}[forger]
    space = device.space(bob if device is ada else ada)
    real = check(transcript(space))
    fake = check(forged(device, space, said_in(space, device, tmp_path), forger))
    assert [text for _, text in real.said] == [text for _, text in TALK]
    assert form(fake) == form(real) and fake.heads == real.heads
    assert {stamp >> 16 for stamp in fake.stamps} == {stamp >> 16 for stamp in real.stamps}


def test_a_forged_transcript_of_a_group_cannot_be_told_from_the_real_one(tmp_path: Path) -> None:
    world = World("forged group")
    ada, bob, cem = world.person("Ada"), world.person("Bob"), world.person("Cem")
    world.friends(ada, bob)
    world.friends(ada, cem)
    ada.group("club", bob, cem)
    for person in (bob, cem):
        world.settle()
        person.join("club")
    world.settle()
    held_talk((*TALK, ("Cem", "may I come?"), ("Bob", "do")), world, ada, bob, cem, chat="club")
    for device in (ada, bob, cem):
        space = device.space("club")
        real = check(transcript(space))
        fake = check(forged(device, space, said_in(space, device, tmp_path), device.name))
        assert form(fake) == form(real), device.name
        # How many heads a newcomer's first entries name depends on what it was told by then, in a real chat too.
        assert set(fake.heads) == set(real.heads)
        assert fake.heads.total() == real.heads.total()


def test_words_that_nobody_said_verify_as_well(tmp_path: Path) -> None:
    world = World("invented")
    ada, bob = world.person("Ada"), world.person("Bob")
    world.friends(ada, bob)
    path = tmp_path / "invented.jsonl"
    talk = [("Ada", "I did it"), ("me", "what?"), *(("Ada", f"word {number}") for number in range(20))]
    moments = [datetime(2026, 11, 1, 10, tzinfo=UTC) + timedelta(days=11 * place) for place in range(len(talk))]
    lines = [{"at": at.isoformat(), "from": who, "text": text} for at, (who, text) in zip(moments, talk, strict=True)]
    path.write_text("\n".join(map(json.dumps, lines)))
    found = check(forged(bob, bob.space(ada), path, "invented"))
    who = {"Ada": world.identities["Ada"], "me": world.identities["Bob"]}
    assert found.said == [(who[name], text) for name, text in talk]
    # A worn epoch is followed by the next, with a slot and a ciphertext of its week for each device.
    grants = [size for kind, size in found.sizes.elements() if kind == "grant"]
    assert grants.count(max(grants)) >= 3 and found.shape[0].count("control epoch") >= 2


def test_a_transcript_with_one_changed_byte_is_refused(tmp_path: Path) -> None:
    world = World("flipped")
    ada, bob = world.person("Ada"), world.person("Bob")
    world.friends(ada, bob)
    held_talk(TALK[:3], world, ada, bob)
    data = transcript(ada.space(bob))
    check(data)
    for at in range(0, len(data), 97):
        with pytest.raises(Refused):
            check(data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :])
    for end in (0, 1, 34, len(data) // 2, len(data) - 1):
        with pytest.raises(Refused):
            check(data[:end])
    with pytest.raises(Refused):
        check(data + b"\0")
