"""A bundle of evidence as it lies on disk: its files, its manifest, who signed it, and what a report cites of it."""
