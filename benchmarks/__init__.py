"""Measurements of this implementation beside others.  Their nodes use neither the public DHT nor the local network."""

import os

os.environ["KITHKIN_BOOTSTRAP"] = ""
os.environ["KITHKIN_LAN"] = "off"
