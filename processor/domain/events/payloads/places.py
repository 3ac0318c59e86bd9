"""Request ids and predictors that stand where the models file says (counting rules 1 and 2)."""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from processor.domain.events.attributes import Attributes

#: The place of the request id on Seldon Core 2, whose ids have several forms (`plain_id`).
CORE_2_ID = "header x-request-id"


class Places(NamedTuple):
    """The parts of an event that can hold a request id or a predictor: its attributes, and the members
    ``id`` and ``parameters`` of its ``body``."""

    attributes: Attributes
    body: Mapping[str, object]

    def find(self, place: str) -> str | None:
        """Return the text at a place such as ``body``, ``header NAME``, ``annotation KEY`` or
        ``metadata KEY``, None if there is none. ValueError if the event's part cannot be read.

        Metadata is KServe's: the attribute ``ce_metadata``, whose keys are names of headers in any case;
        where it has no such key, the member ``parameters`` of the body.

        >>> Places({"ce_metadata": b'{"X-Id": ["a"]}'}, {}).find("metadata x-id")
        'a'
        >>> Places({"ce_annotations": b'{"track": "canary"}'}, {}).find("annotation track")
        'canary'
        """
        kind, _, name = place.partition(" ")
        if kind == "body":
            return _text(self.body.get("id"))
        if kind == "header":
            name = name.lower()
            name = f"ce_{name[3:]}" if name.startswith("ce-") else name
            return (self.attributes.get(name) or b"").decode() or None
        if kind == "annotation":
            return _text(self._object("ce_annotations").get(name))
        parameters = self.body.get("parameters")
        for members in (self._object("ce_metadata"), parameters):
            if isinstance(members, dict):
                lower = {key.lower(): value for key, value in members.items()}
                text = _text(members.get(name, lower.get(name.lower())))
                if text is not None:
                    return text
        return None

    def _object(self, attribute: str) -> dict[str, object]:
        text = self.attributes.get(attribute)
        if not text:
            return {}
        try:
            content = msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            content = None
        if not isinstance(content, dict):
            raise ValueError(f"{attribute} is not a JSON object: {text[:60].decode('latin-1')!r}")
        return content


def plain_id(request_id: bytes, pipeline: str) -> bytes:
    """Return the plain form of an id of Seldon Core 2, whose REST answers and topics also use the key
    ``<partition>.<pipeline>.<id>``, and headers that a proxy has joined.

    >>> plain_id(b"2.churn.a1,a1", "churn"), plain_id(b"2.churn.a1", "churn"), plain_id(b"a1", "churn")
    (b'a1', b'a1', b'a1')
    >>> plain_id(b"2.other.a1", "churn")
    b'2.other.a1'
    """
    forms = {_without_key(form.strip(), pipeline) for form in request_id.split(b",")}
    return forms.pop() if len(forms) == 1 else request_id


def _without_key(form: bytes, pipeline: str) -> bytes:
    partition, _, rest = form.partition(b".")
    prefix = pipeline.encode() + b"."
    if partition.isdigit() and rest.startswith(prefix) and len(rest) > len(prefix):
        return rest[len(prefix) :]
    return form


def _text(value: object) -> str | None:
    """Return a value as an id or a name: a text, an integer, or the first of a list of these."""
    if isinstance(value, list):
        return _text(value[0]) if value else None
    if type(value) is int:
        return str(value)
    return value if isinstance(value, str) and value else None
