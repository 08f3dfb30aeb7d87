"""The packet filter, who listens, who is reached, and the ways out."""
