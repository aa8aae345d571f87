"""The asyncio shells of the network layer: sockets, timers, connections as objects."""
