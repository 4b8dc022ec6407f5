"""What is left of rows and files when transactions end in different ways: `python -m benchmarks.behaviour`."""
