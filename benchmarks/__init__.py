"""Measures of ours beside the peers.  Nodes that they start meet nobody: no public DHT, no local network."""

import os

os.environ["KITHKIN_BOOTSTRAP"] = ""
os.environ["KITHKIN_LAN"] = "off"
