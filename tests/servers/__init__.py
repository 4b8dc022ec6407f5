"""Servers that stand in for the clouds, one file for each.

A server is found by an environment variable (`FILECOLUMN_TEST_S3=http://key:secret@host:port`), or
started on a free port of this machine and ended at the end of the run.
"""
