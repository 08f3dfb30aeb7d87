"""Records on their way: read from their sources, made safe, sent, received, watched and sealed."""
