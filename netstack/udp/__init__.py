"""One UDP port behind one interface, with two implementations: Linux and portable."""
