"""Who may read the metrics port: encryption, and a token that readers and workers show."""

import base64
import binascii
import hmac
import ssl

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware
from multidict import CIMultiDict

from processor.publish.api import encode_json
from processor.settings import Settings
from processor.tls import client_context, server_context

#: Routes without a token: Kubernetes' probes have none to show, and the answers name no model.
OPEN_PATHS = frozenset({"/health", "/ready"})


def metrics_tls(settings: Settings) -> tuple[ssl.SSLContext | None, ssl.SSLContext | None]:
    """The TLS contexts of the metrics port, and of requests to other workers; both are None for plain
    HTTP. `SettingsError` names a file that can't be used."""
    cert, key, ca = settings.metrics_cert, settings.metrics_key, settings.metrics_ca
    if cert is None:
        return None, None
    # Readers show no certificate: probes and browsers have none. The token tells who may read.
    server = server_context("PROCESSOR_METRICS", None, cert, key)
    return server, client_context("PROCESSOR_METRICS", ca, None, None)


def require_token(token: str) -> Middleware:
    """Make the middleware that answers 401 to requests without the token, if there is one.

    The token comes as a bearer token or, from a browser, as the password of a login with any name.
    """
    wanted = token.encode()

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not wanted or request.path in OPEN_PATHS:
            return await handler(request)
        given = _given(request.headers.get(hdrs.AUTHORIZATION, ""))
        # Compared in constant time, so that the duration reveals nothing about the token.
        if not hmac.compare_digest(given, wanted):
            headers = CIMultiDict({hdrs.CONTENT_TYPE: "application/json; charset=utf-8"})
            headers.add(hdrs.WWW_AUTHENTICATE, 'Basic realm="any name, the token as password"')
            headers.add(hdrs.WWW_AUTHENTICATE, "Bearer")
            body = encode_json({"error": "a token is needed: PROCESSOR_METRICS_TOKEN"})
            return web.Response(status=401, body=body, headers=headers)
        return await handler(request)

    return check


def _given(header: str) -> bytes:
    scheme, _, text = header.partition(" ")
    given = text.strip().encode(errors="surrogateescape")
    if scheme.lower() == "bearer":
        return given
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(given, validate=True).partition(b":")[2]
        except binascii.Error:
            return b""
    return b""
