"""Deployments over the years: releases, migrations, restores, copies and wrong mounts."""
