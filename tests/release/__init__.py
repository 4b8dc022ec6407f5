"""The release check, no tests: builds wheel and sdist, looks into them, installs and uses them.

`nox -s release` runs it; `python -m tests.release --help` names its options.
"""
