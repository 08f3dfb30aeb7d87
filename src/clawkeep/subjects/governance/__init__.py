"""What people decide about a host: its tier, and the schedule by which it is verified."""
