"""`pocketlens live` as a systemd service."""
