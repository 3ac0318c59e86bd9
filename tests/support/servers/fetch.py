"""Fetch the servers of the tests before the tests: `python -m tests.support.servers.fetch`.

It needs Python alone, so it can run while the packages are installed. One after the other: two Mavens
must not write one repository.
"""

from . import _docker_answers, elasticsearch, java_sdk, kafka


def main() -> None:
    """All of them; those that are in the cache cost nothing."""
    kafka.fetch()
    java_sdk.fetch()
    if not _docker_answers():
        for version in elasticsearch.VERSIONS:
            elasticsearch.fetch(version)


if __name__ == "__main__":
    main()
