"""INSERT, UPDATE and DELETE statements of a session (`units` runs them), and UNION queries."""
