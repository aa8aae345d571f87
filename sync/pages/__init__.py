"""Yjs pages, built by native code in a process of its own with limits; what ended it is set aside by name."""
