"""HTML pages, charts and the terminal."""
