"""The asyncio side of a swarm: topics on the DHT and on the local network."""
