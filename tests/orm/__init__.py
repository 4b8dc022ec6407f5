"""Session scenarios, each run under a sync and an async driver."""
