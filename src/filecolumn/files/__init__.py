"""The value in a row: files, lists of files, their facts, and the transfer of their content."""
