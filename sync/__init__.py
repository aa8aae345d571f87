"""The service: profiles, replication, search, and the API that every app uses."""
