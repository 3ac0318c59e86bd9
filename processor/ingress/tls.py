"""Encryption of the ingress port, and authentication of its clients by certificate."""

import ssl

from processor.errors import SettingsError
from processor.settings import Settings
from processor.tls import server_context


def ingress_tls(settings: Settings) -> ssl.SSLContext | None:
    """The TLS context of the ingress port; None for plain HTTP. If PROCESSOR_INGRESS_CA is set,
    clients need a certificate that this authority has signed. `SettingsError` names a file that can't
    be used."""
    ca, cert, key = settings.ingress_ca, settings.ingress_cert, settings.ingress_key
    if cert is None:
        if ca is not None:
            raise SettingsError(
                "PROCESSOR_INGRESS_CA asks callers for certificates, which needs TLS: set "
                "PROCESSOR_INGRESS_CERT and PROCESSOR_INGRESS_KEY too"
            )
        return None
    return server_context("PROCESSOR_INGRESS", ca, cert, key)
