"""UDX: reliable ordered streams over UDP, wire-compatible with npm `udx-native` (`docs/protocol.md`, "UDX")."""
