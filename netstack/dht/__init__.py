"""The DHT's own datagrams: addresses, requests and responses, the peer handshake."""
