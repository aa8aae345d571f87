"""Coming back with the 24 words: copies that contacts keep for one another, and how a recovered device finds them."""
