"""Meeting by topic: when to announce and look up, whom to dial, which of two connections to keep; on LANs too."""

from netstack.swarm.effects import Limits
from netstack.swarm.peer import PeerInfo
from netstack.swarm.shell_meeting import Meeting
from netstack.swarm.shell_swarm import PUBLIC_NODES, Swarm, SwarmStatus
from netstack.swarm.shell_topic import Topic

__all__ = ["PUBLIC_NODES", "Limits", "Meeting", "PeerInfo", "Swarm", "SwarmStatus", "Topic"]
