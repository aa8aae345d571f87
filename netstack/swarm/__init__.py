"""Meeting by topic: when to announce and look up, whom to dial, which of two connections to keep; on LANs too."""
