"""Records: what is recorded, how it is sent, and what the log store holds."""
