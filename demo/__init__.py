"""The full pipeline on synthetic images: no photos, no network, no shared folder."""
