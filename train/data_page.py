"""A check of photos as a page: classes as bars, copies side by side, every finding by name."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

from pocketlens.files import write_json, write_text
from pocketlens.report.html import page
from pocketlens.train.data_check import Copies, DataCheck
from pocketlens.train.data_report import balance, findings, headline, to_payload, verdict
from pocketlens.train.thumbnails import thumbnail

PAGE_NAME = "data.html"
JSON_NAME = "data.json"

# How many groups of copies a page shows, and how many photos of each.
_GROUPS_SHOWN = 12
_SHOWN_OF_A_GROUP = 4
_NAMED_AT_MOST = 200

_STYLE = """<style>
.bars { display: grid; grid-template-columns: fit-content(40%) auto 1fr; gap: .35rem .8rem;
  align-items: center; font-variant-numeric: tabular-nums; }
.bars > :nth-child(3n+1) { overflow-wrap: anywhere; }
.bars > :nth-child(3n+2) { text-align: right; }
.bar { background: var(--accent); height: 1.1rem; border-radius: .2rem; min-width: 1px; }
.cases { padding-left: 1.2rem; overflow-wrap: anywhere; }
.bad { border-left: .3rem solid #c0392b; padding-left: .7rem; }
.warning { border-left: .3rem solid #d39b1d; padding-left: .7rem; }
.note { border-left: .3rem solid var(--line); padding-left: .7rem; }
.copies { margin: .8rem 0; padding: .6rem; background: var(--soft); border-radius: .4rem; }
.copies figcaption { overflow-wrap: anywhere; }
</style>"""


def write_data_report(folder: Path, check: DataCheck) -> None:
    """Write `data.html` and `data.json` into a folder.

    Raises:
        OutputError: they cannot be written.
    """
    write_json(folder / JSON_NAME, to_payload(check))
    write_text(folder / PAGE_NAME, data_page(check))


def data_page(check: DataCheck) -> str:
    """Return the page, as HTML in one piece."""
    problem = f'<p class="bad">{html.escape(check.problem)}</p>' if check.problem else ""
    shown = [("The same photo under two labels", check.conflicts)]
    others = [group for group in check.copies if group not in check.conflicts]
    shown.append(("Copies and near copies", tuple(others)))
    sections = "".join(_gallery(check, title, groups) for title, groups in shown if groups)
    lists = "".join(
        f'<h3 class="{finding.gravity}">{len(finding.cases)} × {html.escape(finding.title)}</h3>'
        f"{_cases(finding.cases)}"
        for finding in findings(check)
    )
    return page(
        f"{check.found.source.absolute().name}: the photos",
        f"""{_STYLE}
<p class="lead"><strong>{html.escape(headline(check))}</strong> {html.escape(verdict(check))}</p>
{problem}
<h2>Classes</h2>
<div class="bars">{_bars(check)}</div>
<p>{html.escape(balance(check))}</p>
<h2>What was found</h2>
{lists or "<p>Nothing that needs attention.</p>"}
{sections}
""",
    )


def _bars(check: DataCheck) -> str:
    most = max(1, *check.counts.values())
    return "".join(
        f"<span>{html.escape(label)}</span><span>{count}</span>"
        f'<div><div class="bar" style="width: {100 * count / most:.1f}%"></div></div>'
        for label, count in check.counts.items()
    )


def _cases(cases: Sequence[str]) -> str:
    items = "".join(f"<li>{html.escape(case)}</li>" for case in cases[:_NAMED_AT_MOST])
    if len(cases) > _NAMED_AT_MOST:
        items += f"<li>and {len(cases) - _NAMED_AT_MOST} more, all in {JSON_NAME}</li>"
    return f'<ul class="cases">{items}</ul>'


def _gallery(check: DataCheck, title: str, groups: Sequence[Copies]) -> str:
    rows = "".join(_row(check.found.root, group) for group in groups[:_GROUPS_SHOWN])
    more = _more(len(groups) - _GROUPS_SHOWN, f"more groups, all in {JSON_NAME}")
    return f"<h2>{html.escape(title)}</h2>{rows}{more}"


def _row(root: Path, group: Copies) -> str:
    shown = group.telling_names[:_SHOWN_OF_A_GROUP]
    figures = (thumbnail(root / name, html.escape(name)) for name in shown)
    more = _more(len(group.names) - _SHOWN_OF_A_GROUP, "more of these")
    return f'<div class="copies row">{"".join(figures)}{more}</div>'


def _more(count: int, what: str) -> str:
    return f"<p>and {count} {what}</p>" if count > 0 else ""
