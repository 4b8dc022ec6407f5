"""What must hold of the built documentation: `python -m tests.site docs/_build/html`."""
