"""INSERT, UPDATE and DELETE statements of a session, and UNION queries."""
