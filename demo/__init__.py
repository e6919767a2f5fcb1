"""The whole road on rendered pictures."""
