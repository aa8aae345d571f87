"""Answers of a running node as plain records: what the models would be, but without pydantic.  Its import takes longer
than everything else that a command does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sync.service.models import Line


class Record(dict[str, Any]):
    """A JSON object whose keys are attributes too, as those of the model it was made from.  Times stay text."""

    model = ""  # the name in `sync.service.models`, of a whole answer

    def __getattr__(self, name: str) -> Any:
        try:
            return _record(self[name])
        except KeyError:
            raise AttributeError(name) from None

    def model_dump_json(self) -> str:
        return json.dumps(self, ensure_ascii=False, separators=(",", ":"))

    def model_dump(self, *, mode: str) -> dict[str, Any]:
        return self


if TYPE_CHECKING:
    Said = Line | Record  # a model where this process opened the profile, a record where a node answered


def _record(value: Any) -> Any:
    if isinstance(value, dict):
        return Record(value)
    return [_record(one) for one in value] if isinstance(value, list) else value


def as_record(model: str, value: Any) -> Record:
    """What the client makes of an answer (`sync.service.remote.Reader`)."""
    record = Record(value)
    record.model = model
    return record


def model_of(value: Said) -> str:
    """The name of the model, whichever of the two it is."""
    return value.model if isinstance(value, Record) else type(value).__name__
