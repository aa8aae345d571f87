"""How two nodes find a path to each other: routed handshakes, announcing, hole punching, blind relays."""
