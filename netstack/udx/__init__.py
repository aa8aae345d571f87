"""UDX: reliable ordered streams over UDP datagrams, wire-compatible with npm `udx-native` (`docs/protocol`, "UDX")."""
