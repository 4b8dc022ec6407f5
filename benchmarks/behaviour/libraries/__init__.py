"""The libraries, one module for each, imported only in the process that drives it: they listen to all sessions."""

MODULES = ("ours", "advanced_alchemy", "sqlalchemy_file", "filedepot", "django", "django_cleanup")
