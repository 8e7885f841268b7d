"""The table that commands print: words at the left, figures at the right, nothing cut off."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from rich import box
from rich.table import Table


def table_of(
    title: str, headings: Sequence[str], rows: Iterable[Sequence[str]], words: Collection[int] = (0,)
) -> Table:
    """A table for a console or a picture.

    Args:
        title: stands above it.
        headings: one a column; when all are empty there is no line of headings.
        rows: cells, which may have rich's markup; what a row lacks at its end is empty.
        words: numbers of the columns that hold words, from 0; the others hold figures.
    """
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_header=any(headings),
        show_edge=False,
        pad_edge=False,
    )
    for number, heading in enumerate(headings):
        # The first column names the row: it is not broken while another one can be.
        table.add_column(heading, justify="left" if number in words else "right", no_wrap=number == 0, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table
