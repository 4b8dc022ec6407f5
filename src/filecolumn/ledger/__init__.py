"""The ledger: which keys of which storages rows own, and which may be deleted."""
