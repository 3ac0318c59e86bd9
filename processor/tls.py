"""TLS contexts from the PEM files that settings name."""

import ssl
from pathlib import Path

from processor.errors import SettingsError


def client_context(
    prefix: str, ca: Path | None, cert: Path | None, key: Path | None
) -> ssl.SSLContext:
    """For connections to servers that ``ca`` has signed, without it the system's authorities; with
    the client's own certificate where there is one. `SettingsError` names the variable (``prefix``
    and ``_CA``, ``_CERT`` or ``_KEY``) and the file that can't be used."""
    return _context(ssl.Purpose.SERVER_AUTH, prefix, ca, cert, key)


def server_context(
    prefix: str, ca: Path | None, cert: Path | None, key: Path | None
) -> ssl.SSLContext:
    """For a server; with ``ca`` it takes only clients with a certificate that this has signed.
    `SettingsError` as in `client_context`."""
    context = _context(ssl.Purpose.CLIENT_AUTH, prefix, ca, cert, key)
    if ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _context(
    purpose: ssl.Purpose, prefix: str, ca: Path | None, cert: Path | None, key: Path | None
) -> ssl.SSLContext:
    context = _trusting(purpose, f"{prefix}_CA", ca)
    if cert is None or key is None:
        return context
    # By itself first: an error of the pair does not say which of the two it is about.
    _trusting(purpose, f"{prefix}_CERT", cert)
    _readable(f"{prefix}_KEY", key)
    pair = f"{prefix}_CERT={str(cert)!r} and {prefix}_KEY={str(key)!r}"
    try:
        # Without a password OpenSSL would ask for one on the terminal.
        context.load_cert_chain(cert, key, password="")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise SettingsError(
                f"{pair} don't belong together: give the certificate's key"
            ) from None
        raise SettingsError(
            f"{prefix}_KEY={str(key)!r} is no PEM file of a private key without a password"
        ) from None
    return context


def _trusting(purpose: ssl.Purpose, name: str, path: Path | None) -> ssl.SSLContext:
    if path is not None:
        _readable(name, path)
    try:
        return ssl.create_default_context(purpose, cafile=path)
    except ssl.SSLError:
        raise SettingsError(f"{name}={str(path)!r} is no PEM file of certificates") from None


def _readable(name: str, path: Path) -> None:
    try:
        path.read_bytes()
    except OSError as error:
        raise SettingsError(
            f"{name}={str(path)!r} can't be read: {error.strerror or error}"
        ) from None
