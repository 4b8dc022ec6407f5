"""Measure `accept` on the files of `packages.txt`: `python -m tests.corpus [FOLDER]`.

The archives are downloaded into the folder, or a temporary one; what is there already is used.  What
cannot be had is named, and the rest is measured.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Collection
from pathlib import Path

from tests.corpus.archives import MissingPackageError, archive_of, heads_of
from tests.corpus.listing import Listed, Package, read_listing
from tests.corpus.measure import Claim, Sample, is_accepted, is_refused, wrong_claims


def main(folder: Path) -> None:
    listing = read_listing()
    claims = {Claim.of(listed) for files in listing.values() for listed in files}
    samples = [
        sample for package, files in listing.items() for sample in read_samples(package, files, folder)
    ]
    packages = {sample.listed.package for sample in samples}
    print(
        f"{len(samples)} files of {len(packages)} packages; {len(listing) - len(packages)} packages are missing"
    )
    report("two thirds", [sample for sample in samples if not sample.listed.is_held_out], claims)
    report("held out", [sample for sample in samples if sample.listed.is_held_out], claims)


def read_samples(package: Package, files: Collection[Listed], folder: Path) -> list[Sample]:
    """Return the files of the package, without those that are missing; these are named."""
    try:
        heads = heads_of(archive_of(package, folder), frozenset(listed.path for listed in files))
    except MissingPackageError as error:
        print(f"missing: {package}: {error}")
        return []
    for listed in files:
        if listed.path not in heads:
            print(f"missing: {package}: it has no {listed.path}")
    return [Sample(listed, heads[listed.path]) for listed in files if listed.path in heads]


def report(title: str, samples: Collection[Sample], claims: Collection[Claim]) -> None:
    refused = [sample for sample in samples if is_refused(sample)]
    print(f"\n{title}: {len(refused)} of {len(samples)} files are refused under their own names")
    for sample in refused:
        print(f"  {sample}")
    running = [sample for sample in samples if sample.kind]
    pairs = [(sample, claim) for sample in running for claim in wrong_claims(sample, claims)]
    accepted = [(sample, claim) for sample, claim in pairs if is_accepted(sample, claim)]
    print(
        f"{title}: {len(running)} files run; {len(accepted)} of {len(pairs)} wrong claims for them are accepted"
    )
    for sample, claim in accepted:
        print(f"  {sample} as {claim.extension}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="filecolumn-corpus-") as temporary:
        chosen = Path(sys.argv[1] if sys.argv[1:] else temporary).resolve()
        chosen.mkdir(parents=True, exist_ok=True)
        main(chosen)
