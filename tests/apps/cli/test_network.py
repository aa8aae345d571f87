"""Which network a command uses: what it was told, else the environment, else the public one; `none` is none."""

from __future__ import annotations

import pytest

from apps.cli.opening import network_of
from apps.cli.parser import parse
from sync.service.api import KithkinError


@pytest.mark.parametrize(
    ("words", "environment", "bootstrap"),
    [
        ("run", None, None),
        ("run", "", ()),
        ("run", "none", ()),
        ("run", "192.0.2.1:1, 192.0.2.2:2", ("192.0.2.1:1", "192.0.2.2:2")),
        ("run --bootstrap 192.0.2.3:3 --bootstrap dht.example:4", "192.0.2.1:1", ("192.0.2.3:3", "dht.example:4")),
        ("run --bootstrap none", "192.0.2.1:1", ()),
        ("link", None, None),
        ("link --bootstrap 192.0.2.3:3", "", ("192.0.2.3:3",)),
        ("contact accept x --bootstrap 192.0.2.3:3", "", ("192.0.2.3:3",)),
        ("device approve x --bootstrap none", None, ()),
        ("desktop --bootstrap 192.0.2.3:3", "", ("192.0.2.3:3",)),
    ],
)
def test_option_overrides_environment_for_bootstrap_nodes(
    monkeypatch: pytest.MonkeyPatch, words: str, environment: str | None, bootstrap: tuple[str, ...] | None
) -> None:
    monkeypatch.delenv("KITHKIN_BOOTSTRAP", raising=False)
    if environment is not None:
        monkeypatch.setenv("KITHKIN_BOOTSTRAP", environment)
    assert network_of(parse(words.split())).bootstrap == bootstrap


@pytest.mark.parametrize("wrong", ["nowhere", "192.0.2.1", "192.0.2.1:0", ":1", "192.0.2.1:99999"])
def test_bootstrap_that_is_no_host_and_port_is_refused(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    with pytest.raises(KithkinError) as refused:
        network_of(parse(["run", "--bootstrap", wrong]))
    assert refused.value.code == "usage"
    monkeypatch.setenv("KITHKIN_BOOTSTRAP", wrong)
    with pytest.raises(KithkinError):
        network_of(parse(["run"]))
