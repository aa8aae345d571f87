"""The decisions of a swarm, without I/O: whom to dial, when to look for whom."""
