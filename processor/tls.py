"""TLS contexts from the PEM files that settings name."""

import ssl
from pathlib import Path

from processor.errors import SettingsError


def client_context(
    prefix: str, ca: Path | None, cert: Path | None, key: Path | None
) -> ssl.SSLContext:
    """The context for connections to servers. Their certificates must be signed by the authority
    ``ca``, or by one of the system's authorities if it is None. ``cert`` and ``key`` are the client's
    own, if it has a certificate. `SettingsError` names the variable (``prefix`` and ``_CA``, ``_CERT``
    or ``_KEY``) and the file that can't be used."""
    return _context(ssl.Purpose.SERVER_AUTH, prefix, ca, cert, key)


def server_context(
    prefix: str, ca: Path | None, cert: Path | None, key: Path | None
) -> ssl.SSLContext:
    """The context of a server. With ``ca``, clients need a certificate that this authority has signed.
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
    # Check the certificate alone first: an error of the pair does not name the wrong file.
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
            f"{prefix}_KEY={str(key)!r} is not a PEM file of a private key without a password"
        ) from None
    return context


def _trusting(purpose: ssl.Purpose, name: str, path: Path | None) -> ssl.SSLContext:
    if path is not None:
        _readable(name, path)
    try:
        return ssl.create_default_context(purpose, cafile=path)
    except ssl.SSLError:
        raise SettingsError(f"{name}={str(path)!r} is not a PEM file of certificates") from None


def _readable(name: str, path: Path) -> None:
    try:
        path.read_bytes()
    except OSError as error:
        raise SettingsError(
            f"{name}={str(path)!r} can't be read: {error.strerror or error}"
        ) from None
