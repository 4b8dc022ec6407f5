"""Deployments over the years: releases, migrations, restores, copies, wrong mounts.  No object that a row names is ever gone."""
