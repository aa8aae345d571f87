"""What a face may ask: the API, the node, the local socket, one file a domain."""
