"""The device set against the reference model, and its limits under floods of signed statements."""

from __future__ import annotations

import importlib.util
import random
import sys
from collections.abc import Iterable
from types import ModuleType

import pytest

from identity.device import new_device
from identity.device_set import (
    MAX_COUNTED,
    MAX_DEVICES,
    active_devices,
    certificates_to_keep,
    fold,
    generation_of,
    issued_by,
    relevant,
    revoked_devices,
    sendable,
)
from identity.digest import digest
from identity.errors import KithkinError
from identity.labels import Label
from identity.statement import MAX_STATEMENTS, Certificate, Revocation, Statement
from tests.support.people import certify, family
from tests.support.shared import shared
from tests.support.streams import stream

ROOT = b"R" * 32
SETS = 6_000


@pytest.fixture(scope="module")
def model() -> ModuleType:
    path = shared("model/next/devices.py")
    spec = importlib.util.spec_from_file_location("reference_devices", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def device(name: str) -> bytes:
    """Sorts as the model's names do, because equal ages are decided by id."""
    return name.encode().ljust(32, b"\0")


def statement(x: object) -> Statement:
    """A statement of the model as ours, unsigned: the fold is given what was already verified."""
    named = vars(x) if hasattr(x, "__dict__") else {k: getattr(x, k) for k in x.__dataclass_fields__}  # type: ignore[attr-defined]
    stay = tuple(sorted(digest(Label.STATEMENT, i.encode()) for i in named["stay"]))
    ident = digest(Label.STATEMENT, named["id"].encode())
    by = named.get("issuer", named.get("by"))
    issuer = None if by == "R" else device(str(by))
    who = device(named["dev"])
    if "issuer" in named:
        return Certificate(ident, ROOT, who, who, who, named["created"], named["gen"], issuer, stay)
    return Revocation(ident, ROOT, who, named["created"], named["gen"], issuer, stay)


def names(statements: Iterable[Statement]) -> tuple[str, ...]:
    return tuple(d.id.rstrip(b"\0").decode() for d in active_devices(statements, ROOT))


def test_device_sets_of_all_named_cases_equal_the_model(model: ModuleType) -> None:
    for name, given, want in model.CASES:
        found = names(map(statement, given))
        assert found[: len(want)] == want if name.startswith("thief E") else found == want, name


def test_device_sets_of_random_statements_equal_the_model(model: ModuleType) -> None:
    for seed in range(SETS):
        rng = random.Random(seed)
        given = model.random_set(rng)
        statements = [statement(x) for x in given]
        want = model.devices(given)
        assert names(statements) == want, f"seed {seed}"
        shuffled = statements + rng.choices(statements, k=3)
        rng.shuffle(shuffled)
        assert names(shuffled) == want, f"seed {seed}, shuffled and doubled"
        few = relevant(statements, ROOT)
        assert names(few) == want and set(few) <= set(statements), f"seed {seed}, relevant ones alone"


def cert(ident: str, dev: str, by: str | None, at: int, gen: int = 1, stay: Iterable[str] = ()) -> Certificate:
    who = device(dev)
    ids = tuple(sorted(digest(Label.STATEMENT, i.encode()) for i in stay))
    issuer = None if by is None else device(by)
    return Certificate(digest(Label.STATEMENT, ident.encode()), ROOT, who, who, who, at, gen, issuer, ids)


def gone(ident: str, dev: str, by: str | None, stay: Iterable[str] = (), at: int = 9, gen: int = 1) -> Revocation:
    ids = tuple(sorted(digest(Label.STATEMENT, i.encode()) for i in stay))
    issuer = None if by is None else device(by)
    return Revocation(digest(Label.STATEMENT, ident.encode()), ROOT, device(dev), at, gen, issuer, ids)


A, B = cert("cA", "A", None, 0), cert("cB", "B", "A", 1)


def test_statements_of_another_identity_are_ignored() -> None:
    assert active_devices([A, B], b"Q" * 32) == ()
    assert generation_of([A, B], b"Q" * 32) is None and generation_of([A, B], ROOT) == 1


def test_queries_list_issued_revoked_and_standing_statements() -> None:
    c = cert("cC", "C", "B", 2)
    assert issued_by([A, B, c], ROOT, device("B")) == (c,)
    out = gone("x", "B", "A", ["cC"])
    assert names([A, B, c, out]) == ("A", "C") and revoked_devices([A, B, c, out], ROOT) == {device("B")}
    assert certificates_to_keep([A, B, c, out], ROOT) == (A.id, c.id)
    again = cert("c2", "C", "A", 7)
    assert certificates_to_keep([A, B, c, again], ROOT) == (A.id, B.id, c.id), "one for each device, its earliest"
    assert names([A, B, c, gone("y", "B", "A")]) == ("A",)


def test_recovery_that_lists_standing_statements_keeps_exactly_the_active_devices() -> None:
    c = cert("cC", "C", "B", 2)
    out = gone("x", "B", "A", ["cC"])
    before: list[Statement] = [A, B, c, out]
    result = fold(before, ROOT)
    assert result is not None
    new = Certificate(
        b"n" * 32,
        ROOT,
        device("N"),
        device("N"),
        device("N"),
        50,
        50,
        None,
        tuple(sorted(certificates_to_keep(before, ROOT))),
    )
    assert names([*before, new]) == ("A", "C", "N")


def test_flood_of_backdated_devices_displaces_no_device_that_can_revoke_it() -> None:
    """The phone E is stolen.  Its thief backdates thousands of puppets, which revoke one another; B revokes E."""
    e, b = cert("cE", "E", None, 5), cert("cB", "B", "E", 6)
    flood: list[Statement] = [cert(f"f{n}", f"F{n}", "E", 0) for n in range(3_000)]
    flood += [gone(f"g{n}", f"F{n}", f"F{n + 1}", [f"f{n}"]) for n in range(2_999)]
    assert names([*flood, e, b])[:1] == ("E",)
    end = gone("end", "E", "B", ["cB"])
    assert names([*flood, e, b, end]) == ("B",)
    again = [e, *flood, end, b]
    random.Random(1).shuffle(again)
    assert names(again) == ("B",)


def test_counted_statements_are_bounded_and_the_phrase_ends_a_flood() -> None:
    flood: list[Statement] = [cert(f"f{n}", f"F{n}", "B", 0) for n in range(MAX_COUNTED + 500)]
    result = fold([*flood, A, B], ROOT)
    assert result is not None and len(result.reached) == MAX_COUNTED
    assert names([*flood, A, B])[:2] == ("A", "B") and len(names([*flood, A, B])) == MAX_DEVICES
    assert names([*flood, A, B, cert("cN", "N", None, 99, 2, ["cA"])]) == ("A", "N")


def test_chain_of_five_thousand_certificates_is_folded() -> None:
    chain: list[Statement] = [A, *(cert(f"l{n}", f"L{n}", f"L{n - 1}" if n else "A", n) for n in range(5_000))]
    assert names(chain) == ("A", "L0", "L1", "L2", "L3", "L4")


def test_circular_certificates_admit_no_device() -> None:
    assert names([A, cert("c1", "X", "Y", 1), cert("c2", "Y", "X", 1)]) == ("A",)
    ring: list[Statement] = [A, cert("c1", "X", "A", 1), cert("c2", "Y", "X", 2), cert("c3", "X", "Y", 0)]
    assert names(ring) == ("A", "X", "Y")
    assert names([*ring, gone("x", "X", "A")]) == ("A",)


def test_sent_statements_give_the_same_device_set_or_are_refused() -> None:
    ada = family("sendable", 3)
    kept: list[Statement] = list(ada.statements)
    puppet = new_device(stream("puppet"), 0)
    lost = [certify(ada.identity, ada.devices[2], puppet, n, generation=5) for n in range(MAX_STATEMENTS)]
    assert sendable(kept, ada.identity) == tuple(kept)
    chosen = sendable([*kept, *lost], ada.identity)
    assert set(chosen) == set(kept), "those of a generation that R never gave are left at home"
    flood = [certify(ada.identity, ada.devices[2], puppet, n) for n in range(MAX_STATEMENTS)]
    with pytest.raises(KithkinError) as caught:
        sendable([*kept, *flood], ada.identity)
    assert caught.value.code == "too_many_devices"
