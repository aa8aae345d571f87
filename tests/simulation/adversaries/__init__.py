"""Named adversaries: each file is one story with a `play(seed)`; `tests/simulation/test_adversaries.py` runs them."""
