"""Databases that can be copied, and folders that can be mounted in each other's place."""

from tests.deployments.site import host, site

__all__ = ("host", "site")
