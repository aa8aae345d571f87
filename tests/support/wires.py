"""The virtual network of a simulated world: loss, duplication and delay of datagrams.

Every directed pair of addresses has its own random stream, so that the traffic of one device does not change the losses
of another.  The contents of datagrams are not looked at.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

from netstack.udp.port import Address


@dataclass(frozen=True, slots=True)
class Weather:
    """loss, duplication: probabilities; delay: least and most seconds on the way, so that datagrams are reordered."""

    loss: float = 0.0
    duplication: float = 0.0
    delay: tuple[float, float] = (0.010, 0.012)


CLEAR = Weather()
STORM = Weather(loss=0.30, duplication=0.05, delay=(0.005, 0.120))


class Wires:
    """Which addresses reach each other, and when what they send arrives."""

    def __init__(self, seed: str, weather: Weather) -> None:
        self.weather = weather
        self._seed = seed
        self._luck: dict[tuple[Address, Address], Random] = {}
        self._cut: set[frozenset[Address]] = set()

    def cut(self, some: Iterable[Address], others: Iterable[Address]) -> None:
        """Drops every datagram between the two sides, both ways."""
        rest = list(others)
        self._cut.update(frozenset((one, other)) for one in some for other in rest if one != other)

    def heal(self) -> None:
        """Ends every `cut`."""
        self._cut.clear()

    def open(self, one: Address, other: Address) -> bool:
        """Whether no `cut` separates the two."""
        return frozenset((one, other)) not in self._cut

    def arrivals(self, source: Address, target: Address) -> list[float]:
        """Seconds until each copy of one datagram arrives; an empty list if it is lost."""
        luck = self._luck.get((source, target))
        if luck is None:
            luck = self._luck[source, target] = Random(f"{self._seed}/{source}/{target}")
        weather = self.weather
        # The same number of draws for every datagram, so that a cut or other conditions do not shift later ones.
        lost, twice, first, second = luck.random(), luck.random(), luck.random(), luck.random()
        if not self.open(source, target) or lost < weather.loss:
            return []
        least, most = weather.delay
        found = [least + first * (most - least)]
        if twice < weather.duplication:
            found.append(least + second * (most - least))
        return found
