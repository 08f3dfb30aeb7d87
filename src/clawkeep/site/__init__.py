"""What a site declares: its inventory, and the dated entries that people keep beside it."""
