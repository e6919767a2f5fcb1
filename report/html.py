"""The frame of every HTML page that pocketlens writes: one file, no request to anywhere."""

from __future__ import annotations

import html

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2329; --paper: #fff; --line: #d9dee3; --soft: #f4f6f8;
  --accent: #1f6f54; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ec; --paper: #15191d; --line: #343b42; --soft: #1e2429; --accent: #6fcfab; }
  img { background: #fff; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 1.5rem 1rem 4rem; color: var(--ink);
  background: var(--paper); font: 1rem/1.55 system-ui, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; } h2 { margin-top: 2.2rem; font-size: 1.2rem; }
a { color: var(--accent); } .lead { font-size: 1.15rem; } strong { color: var(--accent); }
img, video { max-width: 100%; height: auto; border-radius: .4rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child, tbody th { text-align: left; font-weight: 600; } thead th { color: var(--accent); }
pre { overflow-x: auto; padding: .8rem 1rem; background: var(--soft); border-radius: .4rem; }
.row { display: grid; grid-template-columns: repeat(auto-fill, minmax(8rem, 1fr)); gap: .6rem; }
.row figure { margin: 0; } .row img { width: 100%; } figcaption { font-size: .85rem; }
.photo img { aspect-ratio: 1; object-fit: contain; background: var(--soft); }
"""


def page(title: str, body: str) -> str:
    """Return an HTML page; `title` is text, `body` is HTML. Readable on a phone, light and dark."""
    name = html.escape(title)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{name}</h1>
{body.strip()}
</body>
</html>
"""
