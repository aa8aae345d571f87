"""Who somebody is: keys, device statements, pairing and invites, without I/O."""
