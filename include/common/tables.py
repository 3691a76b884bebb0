"""Values and tables as operators read them in a terminal."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta


def render_table(header: Sequence[str], rows: Iterable[Sequence[object]], *, indent: str = "") -> str:
    """Columns aligned under their header (none if empty): those of numbers to the right, all others to the left."""
    cells = [list(row) for row in rows]
    lines = [*([list(header)] if header else []), *([render_value(cell) for cell in row] for row in cells)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    columns = list(zip(*cells, strict=True)) or [()] * len(widths)
    right = [bool(column) and all(isinstance(cell, int | float | None) for cell in column) for column in columns]
    return "\n".join(
        indent
        + "  ".join(
            cell.rjust(width) if numbers else cell.ljust(width)
            for cell, width, numbers in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    )


def render_value(value: object) -> str:
    """A value as operators read it: 1,234 and 1,234.50, yes and no, ``-`` for nothing, lists and mappings in words."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.2f}"
        case Mapping():
            return ", ".join(f"{words(str(name))} {render_value(each)}" for name, each in value.items()) or "none"
        case list() | tuple():
            return ", ".join(map(render_value, value)) or "none"
        case _:
            return str(value)


def words(name: str) -> str:
    """The name of a fact as a person writes it; that of a file or folder stays what it is."""
    return name if "." in name or name[:1].isupper() else name.replace("_", " ")


def render_some(values: Iterable[object], at_most: int) -> str:
    """The first of many: ``1, 2 and 3 more``."""
    every = [str(value) for value in values]
    more = f" and {len(every) - at_most:,} more" if len(every) > at_most else ""
    return ", ".join(every[:at_most]) + more


def render_age(span: timedelta) -> str:
    """How long ago, in the unit that tells most."""
    hours = span.total_seconds() / 3600
    if hours < 1:
        return f"{hours * 60:.0f} min"
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} days"
