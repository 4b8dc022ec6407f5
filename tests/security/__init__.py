"""Hostile input, row by row: `test_row_NN_...` proves row NN of the table in the security guide's own numbering."""
