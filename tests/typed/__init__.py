"""Programs as users write them, which mypy and pyright check strictly and tests run."""
