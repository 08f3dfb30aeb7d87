"""What a run found: one model, many writers."""
