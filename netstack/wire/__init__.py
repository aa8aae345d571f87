"""What peers say to each other: handshakes, encrypted frames, channels."""
