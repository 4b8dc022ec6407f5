"""The command `filecolumn`: what `filecolumn.maintenance` does, for a terminal and for cron."""

from filecolumn.errors import MissingDependencyError

try:
    import click as click
    import rich as rich
    import rich_click as rich_click
except ImportError as _missing:
    raise MissingDependencyError(
        "the command filecolumn needs click, rich-click and rich: pip install 'filecolumn[cli]'"
    ) from _missing

from filecolumn.cli.commands import main

__all__ = ("main",)
