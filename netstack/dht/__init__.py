"""The DHT: its datagrams and records, one node without I/O, and walks that find peers and values."""
