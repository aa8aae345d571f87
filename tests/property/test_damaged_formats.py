"""Damage to every format that has vectors: cut, longer, a bit flipped, another version, suite or label, another form.

Whatever is read from damaged bytes is refused with a DecodeError or a KithkinError; a format that is sealed or signed
reads no other bytes at all, and one that is written anew from what was read gives the very bytes that were read.
"""

from __future__ import annotations

import gc
import json
import re
from collections.abc import Iterator
from functools import _lru_cache_wrapper
from random import Random
from typing import Any

import pytest

from crdt.log import entry
from identity.errors import DecodeError, KithkinError
from identity.labels import Label
from tests.support.formats import ELSEWHERE, FORMATS, Format
from tests.support.vectors import FOLDER

REFUSED = object()
WHOLE, SAMPLE = 64, 400  # of the first bytes each bit is flipped, then one bit each of so many others


def read(form: Format, data: bytes) -> Any:
    """What the format reads, or REFUSED.  Any other exception fails the test."""
    try:
        return form.read(data)
    except (DecodeError, KithkinError):
        return REFUSED


def takes(form: Format, data: bytes) -> bool:
    """Whether damaged bytes are read.  What is read has to have this form alone."""
    value = read(form, data)
    if value is REFUSED:
        return False
    if form.write is not None:
        assert form.write(value) == data, "two forms of one value"
    return True


def flips(form: Format) -> Iterator[tuple[int, int]]:
    rng = Random(len(form.good))
    yield from ((at, bit) for at in range(min(WHOLE, len(form.good))) for bit in range(8))
    others = range(WHOLE, len(form.good))
    yield from ((at, rng.randrange(8)) for at in rng.sample(others, min(SAMPLE, len(others))))


@pytest.fixture(params=FORMATS)
def form(request: pytest.FixtureRequest) -> Format:
    return FORMATS[request.param]


def test_the_bytes_of_a_vector_are_read(form: Format) -> None:
    value = read(form, form.good)
    assert value is not REFUSED
    if form.write is not None:
        assert form.write(value) == form.good


def test_bytes_that_were_cut_are_refused(form: Format) -> None:
    taken = [end for end in range(len(form.good)) if takes(form, form.good[:end])]
    assert not taken or form.cut


def test_bytes_that_go_on_are_refused(form: Format) -> None:
    for more in (b"\0", b"\xff", b"\1" * 40, form.good):
        assert not takes(form, form.good + more) or form.grows


def test_a_flipped_bit_is_refused_or_another_value(form: Format) -> None:
    for at, bit in flips(form):
        bent = bytearray(form.good)
        bent[at] ^= 1 << bit
        assert not takes(form, bytes(bent)) or not form.sealed, f"bit {bit} of byte {at}"


def test_bytes_put_in_or_taken_out_are_refused_or_another_value(form: Format) -> None:
    rng = Random(len(form.good))
    for at in sorted(rng.sample(range(len(form.good)), min(64, len(form.good)))):
        for bent in (form.good[:at] + form.good[at + 1 :], form.good[:at] + rng.randbytes(1) + form.good[at:]):
            assert bent == form.good or not takes(form, bent) or not form.sealed, f"byte {at}"


def test_another_version_or_suite_is_refused() -> None:
    for name, form in FORMATS.items():
        if form.dated:
            assert form.good[:2] == b"\0\1", name
            for start in (b"\1\1", b"\0\0", b"\0\2", b"\0\3", b"\xff\1", b"\0\xff"):
                assert read(form, start + form.good[2:]) is REFUSED, (name, start)


C, K, R, S = Label.CERTIFICATE, Label.COUNTERSIGN, Label.REVOCATION, Label.STATEMENT
SLOT = {Label.SLOT_HINT, Label.SLOT_KEY, Label.SLOT_KEM, Label.GRANT_Z}
BOUND: dict[str, set[Label]] = {  # by the first pattern that fits
    "identity-statement: statements.[012].*": {C, K},
    "identity-statement: statements.*": {R},
    "identity-statement: sets.1.*": {C, K},
    "identity-statement: sets.[23].*": {C, K, S},
    "identity-statement: sets.[45].*": {C, K, S, R},
    "identity-pairing: statements": {C, K, S},
    "identity-pairing: certificate": {C, K},
    "identity-keystore: keystores.*": {Label.KEYSTORE},
    "identity-invite: inviter.person": {C, K, S},
    "identity-invite: invitee.person": {C, K},
    "identity-hello: (topic.1|sealed_name)": {Label.HELLO_TOPIC},
    "log-entry: ..block": {Label.OPENING},
    "log-pack: 0.sealed": {Label.PACK},
    "space-grant: ..grant, opened": SLOT,
    "space-grant: ..grant, by the phrase": {Label.SLOT_KEY, Label.GRANT_Z},
    "space-record: 0.record": {Label.OPENING, Label.RECORD, Label.RECORD_KEY},
    "space-ids: 0.consent.*": {Label.CONSENT},
    "space-ids: 0.succession": {Label.SUCCEED},
    "docs: updates.*": {Label.WRITER, Label.CLIENT},
    "recovery: holder": {Label.DEVICE, C, K},
    "recovery: record": {Label.DROP, Label.DEVICE, C, K},
    "recovery: copy": {Label.COPY},
    "backup: (header|record)": {Label.BACKUP},
    "netstack-lan.*": {Label.LAN_KEY},
}


def caches() -> list[_lru_cache_wrapper[Any]]:
    return [one for one in gc.get_objects() if isinstance(one, _lru_cache_wrapper)]


def test_under_another_label_nothing_that_a_label_binds_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    remembered = caches()
    refused: dict[str, set[Label]] = {name: set() for name in FORMATS}
    try:
        for label in Label:
            with monkeypatch.context() as changed:
                changed.setattr(label, "_value_", b"kithkin another")
                changed.setattr(entry, "_KEY_PERSON", Label.MESSAGE_KEY.value)
                changed.setattr(entry, "_OPENING_PERSON", Label.OPENING.value)
                for one in remembered:
                    one.cache_clear()
                for name, form in FORMATS.items():
                    if read(form, form.good) is REFUSED:
                        refused[name].add(label)
    finally:
        for one in remembered:
            one.cache_clear()
    for name, labels in refused.items():
        bound = next((held for pattern, held in BOUND.items() if re.fullmatch(pattern, name)), set())
        assert labels == bound, name


def fields(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inside in value.items():
            yield from fields(inside, (*path, key))
    elif isinstance(value, list):
        for number, inside in enumerate(value):
            yield from fields(inside, (*path, str(number)))
    elif isinstance(value, str):
        yield ".".join(path), value


def test_every_long_field_of_every_vector_file_is_walked() -> None:
    """A key, an id or a hash has at most 64 bytes; what is longer is a format."""
    left = []
    for file in sorted(FOLDER.glob("*.json")):
        for place, text in fields(json.loads(file.read_text(encoding="ascii"))):
            name = f"{file.stem}: {place}"
            if re.fullmatch("([0-9a-f]{2}){65,}", text) and name not in FORMATS:
                left.append(name)
    other = [name for name in left if not any(re.fullmatch(p.replace("*", "[0-9]+"), name) for p in ELSEWHERE)]
    assert not other
