"""The common past of an exploration: a small space over the production fold, and the statements that may follow.

Four devices.  `PEOPLE`: c creates, a and b are admins, m is a member, a device each.  `DEVICES`: c creates and a is an
admin, two devices each, the second certified by the first.  `DIRECT`: two persons with two devices each.
"""

from __future__ import annotations

from collections.abc import Iterable

from crdt.space.control import SpaceKind
from identity.evidence import chain, evidence
from identity.statement import Certificate, Revocation, Statement
from tests.unit.space.circle import Circle, Seat, encoded, name32, said_by


class Past(Circle):
    """What everybody knows when the exploration begins.  sets: names of the devices; admins: letters of persons."""

    def __init__(self, people: dict[str, int], kind: SpaceKind = SpaceKind.GROUP, admins: str = "") -> None:
        super().__init__(people, kind, admins)
        self.base, self.admins = list(self.entries), admins
        self.known = {person: list(signed) for person, signed in self.signed.items()}
        self.first = {person: self.seats[person + "1"].member(person) for person in people}

    @property
    def name_of(self) -> dict[bytes, str]:
        """Core key -> the name of a device."""
        return {seat.core: name for name, seat in self.seats.items()}

    @staticmethod
    def root(person: str) -> bytes:
        """The identity of a person."""
        return name32(person)

    def certify(self, device: str, by: str | None = None, stay: Iterable[bytes] = ()) -> bytes:
        """The second device of a person is certified by the first, as devices are linked."""
        if by is None and device[1] != "1" and device[0] + "1" in self.seats:
            by = device[0] + "1"
        return super().certify(device, by, stay)

    def newcomer(self, name: str) -> Seat:
        """A device that is in no space yet; nobody has certified it."""
        self.signed.setdefault(name[0], [])
        had = list(self.signed[name[0]])
        seat = self.seats.get(name) or Seat(self, name)
        self.signed[name[0]] = had
        return seat

    # -- statements ----------------------------------------------------------------------------------------------

    def certificate(self, device: str, by: str | None, generation: int = 1, keeps: str = "") -> Certificate:
        """keeps: names of devices of the common past, apart by spaces, whose certificates it lists."""
        at = self._next()
        stay = tuple(sorted(self.certificates(kept)[0] for kept in keeps.split()))
        who, issuer = name32("device", device), None if by is None else name32("device", by)
        made = Certificate(name32("statement", at), name32(device[0]), who, who, who, at, generation, issuer, stay)
        self._tell(made)
        return made

    def revocation(self, device: str, by: str, keeps: Iterable[bytes] = ()) -> Revocation:
        """By a device; it lists what stands, and these."""
        at = self._next()
        stay = {s.id for s in self.known[device[0]] if isinstance(s, Certificate)} | set(keeps)
        made = Revocation(
            name32("statement", at),
            name32(device[0]),
            name32("device", device),
            at,
            1,
            name32("device", by),
            tuple(sorted(stay)),
        )
        self._tell(made)
        return made

    def _next(self) -> int:
        self.order += 1
        return self.order

    def _tell(self, made: Statement) -> None:
        self.statements[encoded(made)] = made

    def shows(self, device: str, told: Iterable[Statement]) -> tuple[bytes, ...]:
        """What shows that a device stands, by the common past and what was told since; empty if it does not."""
        given = [*self.known.get(device[0], ()), *told]
        return said_by(chain(given, name32(device[0]), name32("device", device)))

    def shows_out(self, device: str, told: Iterable[Statement]) -> tuple[bytes, ...]:
        """What shows that a device is out; empty if it stands."""
        given = [*self.known.get(device[0], ()), *told]
        return said_by(evidence(given, name32(device[0]), name32("device", device)))
