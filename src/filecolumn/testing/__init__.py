"""What tests of applications and of storages need."""
