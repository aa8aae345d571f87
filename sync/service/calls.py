"""The calls of `api.Service`, read from the protocol class itself.

The server (`sync.service.socket`) and the client (`sync.service.remote`) are both made from `CALLS`, so a new method is
written twice: in the protocol and in its domain.  Nothing here imports the models: the command line starts with this.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from sync.service.api import Service


class Kind(Enum):
    """How a call is answered over the socket: by one value, by items until it is cancelled, or by a conversation."""

    VALUE = "value"
    STREAM = "AsyncIterator"
    DIALOGUE = "AbstractAsyncContextManager"


@dataclass(frozen=True, slots=True)
class Call:
    """answer: the name in `sync.service.models` of what a value or an item is; of a dialogue, of its other end in
    `sync.service.api`."""

    name: str
    method: Callable[..., Any]
    kind: Kind
    answer: str

    def arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Arguments by name, as they were given.  Raises TypeError, as the method itself would."""
        bound = inspect.signature(self.method).bind(None, *args, **kwargs).arguments
        return dict(list(bound.items())[1:])


def _call(name: str, method: Callable[..., Any]) -> Call:
    said: str = method.__annotations__["return"]  # as it is written in the protocol: "AsyncIterator[models.Event]"
    outer, _, inner = said.rpartition("[")
    return Call(name, method, Kind(outer) if outer else Kind.VALUE, inner.rstrip("]").rpartition(".")[2])


METHODS = [(name, method) for name, method in vars(Service).items() if inspect.isfunction(method)]
CALLS = {name: _call(name, method) for name, method in METHODS if not name.startswith("_")}
