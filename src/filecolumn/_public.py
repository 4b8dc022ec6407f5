"""A public class that is made of private ones: Python's messages name the class that users know.

`FileValue.__init__() takes 2 positional arguments` says nothing to who has written `FileObject(...)`.
"""

from __future__ import annotations

from types import FunctionType

__all__ = ("name_methods_after",)


def name_methods_after(public: type, *bases: type) -> None:
    """Let the methods that *public* has from its private *bases* be called as its own in messages and tracebacks."""
    for base in bases:
        for name, member in vars(base).items():
            function: object = getattr(member, "__func__", member)
            while isinstance(function, FunctionType):
                function.__qualname__ = f"{public.__qualname__}.{name}"
                # a decorated one calls it
                function = getattr(function, "__wrapped__", None)
