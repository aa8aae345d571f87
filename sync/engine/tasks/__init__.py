"""What a device writes without being asked, one file a subject."""
