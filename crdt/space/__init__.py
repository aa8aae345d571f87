"""Spaces: the control graph, membership as a fold over it, epochs with their grants, device records, rendezvous."""
