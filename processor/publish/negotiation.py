"""Content negotiation: the format and compression that a client accepts, by its Accept headers."""


def weights(header: str) -> dict[str, float]:
    """The weight (q, from 0 to 1) of each choice in an Accept header.

    Choices are in lower case and without their parameters; a repeated one has its greatest weight.

    >>> weights("text/plain;version=0.0.4;q=0.5, */*;q=0.1, GZIP")
    {'text/plain': 0.5, '*/*': 0.1, 'gzip': 1.0}
    """
    result: dict[str, float] = {}
    for choice in header.split(","):
        name, *parameters = (part.strip().lower() for part in choice.split(";"))
        weight = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    weight = float(parameter[2:])
                except ValueError:
                    weight = 0.0
        if name:
            result[name] = max(weight, result.get(name, 0.0))
    return result


def wants_openmetrics(accept: str) -> bool:
    """Whether the client names OpenMetrics and does not prefer plain text.

    >>> wants_openmetrics("application/openmetrics-text;version=1.0.0;q=0.6,text/plain;q=0.4")
    True
    >>> wants_openmetrics("*/*")
    False
    """
    choices = weights(accept)
    weight = choices.get("application/openmetrics-text", 0.0)
    return weight > 0 and weight >= choices.get("text/plain", 0.0)


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether the client accepts a body compressed by gzip.

    >>> accepts_gzip("deflate, gzip;q=0.5"), accepts_gzip("gzip;q=0"), accepts_gzip("")
    (True, False, False)
    """
    choices = weights(accept_encoding)
    return choices.get("gzip", choices.get("*", 0.0)) > 0
