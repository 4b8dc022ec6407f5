"""What a change must pass, each in a virtual environment of its own: `nox --list`."""

from __future__ import annotations

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True

PINNED = "constraints.txt"
OLDEST = "constraints-minimum.txt"

IN_PARALLEL = ("-n", "auto", "--dist", "worksteal")
SLOWEST = ("--durations", "10")
WITH_SERVERS = ("python", "-m", "tests.servers", "python", "-m", "pytest")

# What needs nothing but this package, and takes minutes altogether; `sized` tests are in both sets, with
# sizes of `tests/profiles.py`, but for examples of Hypothesis: twice as many find no more.
QUICK = "not (server or browser or extended or quiet)"
REST = "not quiet and (server or browser or extended or (sized and not hypothesis))"


def install(session: nox.Session, *what: str, pins: str = PINNED) -> None:
    """Install *what* in the versions of *pins*; dependency groups need a pip of 2025."""
    session.install("pip>=25.1")
    session.install("--constraint", pins, *what)


@nox.session(default=False)
def demo(session: nox.Session) -> None:
    """Show in a minute what the library does, on your own files if you name some."""
    install(session, "-e", ".[fsspec,async]", "--group", "demo")
    session.run("python", "examples/quickstart.py", *session.posargs)


@nox.session(default=False)
def gallery(session: nox.Session) -> None:
    """Serve the example gallery on this machine; its files stay in the folder gallery-data."""
    install(session, "-e", ".[litestar,async]", "--group", "gallery")
    session.run("python", "-m", "examples.gallery", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the quick tests, which need no server; or with what follows `--` those that pytest chooses among them."""
    install(session, "-e", ".[fsspec,async]", "--group", "test")
    session.run(
        *("python", "-m", "pytest", "-m", QUICK, *SLOWEST, *(session.posargs or IN_PARALLEL)),
        env={"FILECOLUMN_TEST_PROFILE": "quick", "FILECOLUMN_TEST_SERVERS": "none"},
    )


@nox.session(name="tests-rest")
def tests_rest(session: nox.Session) -> None:
    """Run what `tests` leaves out: servers, browsers, faults in number, and at last what measures, alone."""
    groups = ("test", "servers", "apps", "browser", "notebook")
    install(session, "-e", ".[fsspec,async]", *(f"--group={group}" for group in groups))
    pytest = (*WITH_SERVERS, *SLOWEST)
    profile = {"FILECOLUMN_TEST_PROFILE": "ci"}
    if session.posargs:
        session.run(*pytest, *session.posargs, env=profile)
        return
    session.run(*pytest, "-m", REST, *IN_PARALLEL, env=profile)
    session.run(*pytest, "-m", "quiet", env=profile)


@nox.session(default=False)
def soak(session: nox.Session) -> None:
    """Inject faults for hours, where CI does for minutes, and run each scenario on each driver."""
    install(session, "-e", ".[fsspec,async]", "--group", "test", "--group", "servers", "--group", "apps")
    session.run(
        *(*WITH_SERVERS, "--timeout=0", "-m", "not (quiet or browser)", *session.posargs),
        env={"FILECOLUMN_TEST_PROFILE": "soak"},
    )


@nox.session(default=False)
def mutants(session: nox.Session) -> None:
    """Run the quick tests without each guard in turn, but those made for it: something must break."""
    install(session, "-e", ".[fsspec,async]", "--group", "test")
    made_for_it = [f"--ignore=tests/faults/test_{name}.py" for name in ("guards", "mutants")]
    session.run(
        "python", "-m", "tests.faults.mutants", "-m", QUICK, *IN_PARALLEL, *made_for_it, *session.posargs
    )


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, format, spelling and the change log's fragments."""
    install(session, "--group", "lint")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("codespell")
    session.run("towncrier", "build", "--draft", "--version", "0.0.0")


@nox.session
def typing(session: nox.Session) -> None:
    """Check the types with mypy and pyright, and that the public ones are complete."""
    install(session, "-e", ".[all]", "--group", "typing")
    session.run("mypy")
    session.run("pyright")
    session.run("pyright", "--ignoreexternal", "--verifytypes", "filecolumn")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation, each warning an error, and look at its pages if Chromium is there."""
    install(session, "-e", ".[all]", "--group", "docs", "--group", "pages")
    session.run("sphinx-build", "-n", "-W", "--keep-going", "docs", "docs/_build/html", *session.posargs)
    session.run("python", "-m", "tests.site", "docs/_build/html")


@nox.session
def minimum(session: nox.Session) -> None:
    """Run the quick tests on the oldest versions that pyproject.toml allows, as far as the ORM goes.

    What is injected, served or made up in numbers does not depend on them.
    """
    install(session, "-e", ".[fsspec,async]", "--group", "test", pins=OLDEST)
    elsewhere = (
        f"--ignore=tests/{folder}"
        for folder in ("backends", "deployments", "faults", "litestar", "maintenance", "project")
    )
    chosen = f"not sized and {QUICK}"
    pytest = ("python", "-m", "pytest", *IN_PARALLEL, *elsewhere, "-m", chosen, *session.posargs)
    # each scenario sync or async
    session.run(*pytest, env={"FILECOLUMN_TEST_TURNS": "all"})


@nox.session(default=False)
def release(session: nox.Session) -> None:
    """Build wheel and sdist, and use both on each Python with each extra; `-- --quick` takes one and a minute."""
    install(session, "--group", "release")
    session.run("python", "-m", "tests.release", "--tests", QUICK, *session.posargs)


@nox.session(default=False)
def corpus(session: nox.Session) -> None:
    """Measure what `accept` refuses and lets pass, on real files: downloaded into a folder if you name one."""
    install(session, "-e", ".")
    session.run("python", "-m", "tests.corpus", *session.posargs)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure against the floor and against peers; `-- --help` says how to choose, and `-- --quick` takes a minute."""
    install(session, "-e", ".[fsspec,async]", "--group", "bench")
    session.run("python", "-m", "benchmarks", *session.posargs)
