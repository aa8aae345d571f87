"""Yjs documents on the logs: pages, the guard, facts, the timeline and personal registers."""
