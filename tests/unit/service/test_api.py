"""Each method of `Service` stands once in the protocol and once in a domain; the client is made from the protocol."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from sync.service import models
from sync.service.calls import CALLS, Kind
from sync.service.local import LocalService
from sync.service.remote import Channel, SocketService, as_model
from sync.service.socket import arguments


def parameters(method: Callable[..., Any]) -> list[tuple[str, object, object, object]]:
    found = inspect.signature(method).parameters.values()
    return [(one.name, one.kind, one.default, one.annotation) for one in found]


@pytest.mark.parametrize("service", [LocalService, SocketService])
@pytest.mark.parametrize("name", list(CALLS))
def test_every_method_of_the_protocol_has_the_same_parameters_in_both_services(service: type, name: str) -> None:
    method = inspect.getattr_static(service, name)
    assert method is not CALLS[name].method
    assert parameters(method) == parameters(CALLS[name].method)


def test_domains_write_each_method_once() -> None:
    domains = [one for one in LocalService.__mro__ if one.__module__.startswith("sync.service")]
    written = [name for one in domains for name in vars(one) if name in CALLS]
    assert sorted(written) == sorted(CALLS)


def test_client_writes_no_method_of_the_protocol() -> None:
    assert not set(CALLS) & set(vars(Channel))


def test_every_answer_is_a_model_but_that_of_an_approval() -> None:
    answers = {call.answer for call in CALLS.values() if call.kind is Kind.VALUE}
    assert all(issubclass(getattr(models, answer), models.Line) for answer in answers)
    others = {(call.name, call.kind, call.answer) for call in CALLS.values() if call.kind is not Kind.VALUE}
    assert others == {("events", Kind.STREAM, "Event"), ("device_approve", Kind.DIALOGUE, "Approval")}


def test_server_checks_the_arguments_of_the_signature() -> None:
    fields = arguments(CALLS["search"]).model_fields
    assert list(fields) == ["query", "chat", "author", "since", "until", "sort", "limit"]
    assert [name for name, field in fields.items() if field.is_required()] == ["query"]


def test_arguments_by_position_are_sent_by_name() -> None:
    assert CALLS["chat_new"].arguments(("Trip", ["id_bob"]), {}) == {"title": "Trip", "contacts": ["id_bob"]}
    with pytest.raises(TypeError):
        CALLS["chat_new"].arguments((), {"name": "Trip"})


def test_event_is_read_as_the_model_that_its_name_says() -> None:
    event = models.ProgressEvent(what="index", done=1, total=2)
    assert as_model("Event", event.model_dump(mode="json")) == event
