"""Meeting by topic: when to announce and look up, whom to dial, which of two connections to keep; on LANs too."""

from netstack.swarm.core.effects import Limits
from netstack.swarm.core.peer import PeerInfo
from netstack.swarm.shell.swarm import PUBLIC_NODES, Swarm, SwarmStatus
from netstack.swarm.shell.topic import Topic
from netstack.swarm.shell.topic_discovery import Meeting

__all__ = ["PUBLIC_NODES", "Limits", "Meeting", "PeerInfo", "Swarm", "SwarmStatus", "Topic"]
