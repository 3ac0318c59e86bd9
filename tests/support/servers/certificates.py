"""Authorities and certificates, made by openssl."""

import subprocess
from pathlib import Path

from .maven import ServerError, find_program


def authority(folder: Path, name: str) -> None:
    """``<name>.pem`` and ``<name>.key`` of an authority, in a folder."""
    _openssl(
        *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"),
        *("-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem")),
    )


def signed(folder: Path, name: str, extension: str, by: str = "ca") -> None:
    """The same of somebody whom the authority ``by`` has signed."""
    request, extensions = folder / f"{name}.csr", folder / f"{name}.ext"
    extensions.write_text(extension)
    _openssl(
        *("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}"),
        *("-keyout", str(folder / f"{name}.key"), "-out", str(request)),
    )
    _openssl(
        *("x509", "-req", "-in", str(request), "-CA", str(folder / f"{by}.pem"), "-days", "2"),
        *("-CAkey", str(folder / f"{by}.key"), "-CAcreateserial", "-extfile", str(extensions)),
        *("-out", str(folder / f"{name}.pem")),
    )


def _openssl(*args: str) -> None:
    command = [find_program("openssl", "openssl"), *args]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise ServerError(f"openssl {args[0]} failed:\n{done.stderr}")
