"""Encryption of the ingress port, and who may come in by certificate."""

import ssl

from processor.errors import SettingsError
from processor.settings import Settings
from processor.tls import server_context


def ingress_tls(settings: Settings) -> ssl.SSLContext | None:
    """The context of the ingress port, None where it speaks plain HTTP. With an authority callers
    need a certificate that it has signed. `SettingsError` names the file that can't be used."""
    ca, cert, key = settings.ingress_ca, settings.ingress_cert, settings.ingress_key
    if cert is None:
        if ca is not None:
            raise SettingsError(
                "PROCESSOR_INGRESS_CA asks callers for certificates, which needs TLS: set "
                "PROCESSOR_INGRESS_CERT and PROCESSOR_INGRESS_KEY too"
            )
        return None
    return server_context("PROCESSOR_INGRESS", ca, cert, key)
