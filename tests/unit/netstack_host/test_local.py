"""Which of this machine's addresses peers are told."""

from __future__ import annotations

from netstack.shell.interfaces import hosts6_of

LINK = "fe800000000000000000000000000001 02 40 20 80 eth0\n"
HOME = "fd000000000000000000000000000002 02 40 00 80 eth0\n"
LASTING = "20010db8000000000211223344556677 02 40 00 00 eth0\n"
OLD = "20010db8000000000000000000000aaa 02 40 00 21 eth0\n"
TODAY = "20010db8000000000000000000000bbb 02 40 00 01 eth0\n"


def test_temporary_ipv6_addresses_are_preferred_to_permanent_ones() -> None:
    assert hosts6_of(LINK + HOME + LASTING + OLD + TODAY) == ("2001:db8::bbb",)
    assert hosts6_of(LINK + HOME + LASTING) == ("2001:db8::211:2233:4455:6677",)
    assert hosts6_of(LINK + HOME) == ()
