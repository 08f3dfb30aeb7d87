"""The ways in: the browser entry with its sessions, the gateways behind it, and the VPN."""
