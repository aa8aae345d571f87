"""This device: its account, its directory of everybody's devices, what its spaces share."""
