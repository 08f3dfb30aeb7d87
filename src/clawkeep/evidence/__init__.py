"""Evidence as documents: what was measured of a host, observations, and bundles of them on disk."""
