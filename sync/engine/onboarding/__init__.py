"""People and devices coming in: invites, approvals, and the side of a new device."""
