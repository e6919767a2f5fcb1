"""The whole road on rendered pictures: no photos, no network, no shared folder."""
