"""The register of controls: pages, tiers, the frameworks that they map to, and its prose."""
