"""A fault of a page, in one line."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ("Fault",)


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """What is wrong, where it is seen, and what to do."""

    page: str
    """Path in the site."""
    seen: str
    """How it is looked at: `source`, `1280 light`, `390`, `print`..."""
    selector: str
    what: str
    to_do: str

    def __str__(self) -> str:
        return f"{self.page}: {self.seen}: {self.selector}: {self.what}; {self.to_do}"
