"""The ledger: which keys of which storages rows own, and which may be deleted.

A key becomes LIVE, DOOMED or GONE in `transitions` only, whose docstring says by which function and when; the
triggers that do so inside the database are in `triggers`.  The tables are in `table`, and what is known of file
columns in `columns`.  `deletion` deletes objects after a commit, `proofs` asks whether a COMMIT without an answer
took effect, `owner` and `marks` say which database may store and remove in a storage, and `locks` bounds every wait.
"""
