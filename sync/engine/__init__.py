"""One opened profile without I/O: connections, replication, dialling and what follows from each."""
