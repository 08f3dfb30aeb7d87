"""The agent bench, live: needs root and the lab's image, and no virtual machine."""
