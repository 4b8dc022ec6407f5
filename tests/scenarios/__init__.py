"""What a scenario runs on: one face for sync and async sessions, models, storages that fail, and the fixtures."""
