"""What the windows do, without a window: plain objects with observable state over `sync.service`, one a screen."""
