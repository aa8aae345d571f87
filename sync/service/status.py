"""How the node stands in the network, for `status`: what is before it, who leads to it, which way its peers are."""

from __future__ import annotations

from netstack.udp.port import Address
from netstack.wire.messages import Firewall
from sync.engine.profile import Profile
from sync.service import cover, models
from sync.service.events import peer_model
from sync.service.ids import chat_id
from sync.service.names import chat_title
from sync.service.node import Node

NATS: dict[Firewall, models.NatKind] = {
    Firewall.UNKNOWN: "unknown",
    Firewall.OPEN: "open",
    Firewall.CONSISTENT: "consistent",
    Firewall.RANDOM: "random",
}


def dht(node: Node) -> models.Dht:
    host, topics = node.host, node.topics
    lan, strangers = topics is not None and topics.on_lan, len(node.engine.candidates)
    if host is None or host.dht is None:
        return models.Dht(lan=lan, strangers=strangers)
    found = host.status()
    return models.Dht(
        enabled=True,
        bootstrapped=found.online,
        nodes=found.nodes,
        nat=NATS[found.nat],
        address=text_of(found.address) if found.address is not None else None,
        reachable=found.reachable,
        ephemeral=found.ephemeral,
        relays=[text_of(relay) for relay in found.relays],
        topics=len(topics) if topics is not None else 0,
        strangers=strangers,
        lan=lan,
    )


def peers(node: Node) -> list[models.Peer]:
    """Devices with a proved connection."""
    found = []
    for peer in node.engine.peers.values():
        if peer.device is None or peer.closing:
            continue
        shown = peer_model(node.engine.profile, peer.device, peer.address)
        connection = node.connection(peer.conn)
        if connection is not None:
            path = connection.path.value
            rtt = round(connection.rtt * 1000, 2) if connection.rtt else None
            now = {"address": text_of(connection.address), "path": path, "rtt_ms": rtt}
            shown = shown.model_copy(update=now)
        found.append(shown)
    return found


def uncovered(profile: Profile) -> list[models.Uncovered]:
    """The chats of this profile that are not covered; see `cover.py`."""
    found = []
    for id_ in profile.view.chats:
        space = profile.spaces.get(id_)
        devices = cover.of_chat(space) if space is not None else ()
        if space is not None and devices:
            reason = cover.sentence(profile, space, devices)
            found.append(models.Uncovered(chat=chat_id(id_), title=chat_title(profile, id_), reason=reason))
    return found


def text_of(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
