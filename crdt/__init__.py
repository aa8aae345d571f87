"""What is said: signed logs, spaces and their members, Yjs documents, all without I/O."""
