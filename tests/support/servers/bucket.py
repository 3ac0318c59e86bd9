"""An S3-compatible server in a process of its own."""

import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.servers.process import free_port


@contextmanager
def s3_server(bucket: str, log: Path) -> Iterator[dict[str, str]]:
    """Start a server with an empty bucket; yields the environment variables of its clients."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    program = shutil.which("moto_server", path=str(Path(sys.executable).parent))
    assert program is not None, "install the extra 'test'"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [program, "-H", "127.0.0.1", "-p", str(port)], stdout=output, stderr=output
        )
    try:
        deadline = time.monotonic() + 60
        while True:
            request = urllib.request.Request(f"{url}/{bucket}", method="PUT")
            try:
                urllib.request.urlopen(request, timeout=10).close()
                break
            except (urllib.error.URLError, OSError):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
        yield {
            "AWS_ENDPOINT_URL": url,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
        }
    finally:
        process.terminate()
        process.wait(60)
