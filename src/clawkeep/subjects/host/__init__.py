"""The host itself: accounts, kernel, sshd, clock, audit, and what an emergency needs."""
