"""What is new in a space since somebody last looked: set by its parts, taken by whoever acts on it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Changes:
    """Sets of W or of what facts are about; flags are put down by whoever dealt with them."""

    moved: set[bytes] = field(default_factory=set)  # W of feeds that grew
    records: set[bytes] = field(default_factory=set)  # W whose record is newer
    forks: set[bytes] = field(default_factory=set)  # W whose fork proof is new
    news: set[bytes] = field(default_factory=set)  # what facts other than messages were about
    reach: bool = False  # what my record says of others' feeds is not true any more
    membership: bool = False  # the fold of the control entries is another
    personal: bool = False  # my own documents say something else
    control: bool = False  # control entries came; the fold has not seen them
    keys: bool = False  # epoch keys came; sealed entries have not been tried with them
    dropped: bool = False  # epoch keys went
    row: bool = False  # the row of the space itself
