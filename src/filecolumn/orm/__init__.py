"""Files as attributes of SQLAlchemy models.  Importing the package starts the listeners of `events`.

- `column` is the column type; `attributes`, `rows` and `references` find file columns, and read what rows have.
- `flush` is one flush of a session from top to bottom; `statements` runs INSERT, UPDATE and DELETE by its steps.
- `slots` says what is wrong with a file that a row is to get; `assignment` decides which row keeps its object, gets
  one, or gets a copy.
- `homes` finds the ledger in which a row's files are recorded; `transaction` ends what flushes began.
"""

from filecolumn.orm import column, events, granting

__all__ = ("column", "events", "granting")
