"""Errors of the JSON reader about a value of the wrong type, in plain words."""

import re

import msgspec

#: The words of the JSON reader for the types of a value.
_WORDS = {
    "object": "an object",
    "array": "a list",
    "str": "a text",
    "int": "a number",
    "float": "a number",
    "bool": "true or false",
    "null": "null",
}
_WRONG_TYPE = re.compile(r"Expected `([^`]+)`, got `([^`]+)`")
_PLACE = re.compile(r" - at `(?:key in )?\$?\.?([^`]*)`$")


def type_error(error: msgspec.ValidationError) -> str:
    """Return what a value is and what it should be, with the place where it stands.

    >>> type_error(msgspec.ValidationError("Expected `object | null`, got `int` - at `$.truth.data`"))
    'truth.data is a number, and must be an object'
    >>> type_error(msgspec.ValidationError("Expected `object`, got `array`"))
    'the JSON is a list, and must be an object'
    >>> type_error(msgspec.ValidationError("Object missing required field `a` - at `$.b`"))
    "Object missing required field 'a' - at 'b'"
    """
    text = str(error)
    place = _PLACE.search(text)
    found = _WRONG_TYPE.match(text)
    if found is None:
        return text.replace("`$.", "`").replace("`", "'")
    wanted = [_WORDS.get(each, each) for each in found[1].split(" | ") if each != "null"]
    name = place[1] if place and place[1] else "the JSON"
    is_type = _WORDS.get(found[2], found[2])
    return f"{name} is {is_type}, and must be {' or '.join(dict.fromkeys(wanted))}"
