"""HTML and SVG from parts: all that is not marked up already is escaped, so no name gets through."""

from html import escape


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def tag(name: str, *children: str, **attributes: str | float | None) -> Markup:
    """An element; ``class_`` is ``class``, ``stroke_width`` is ``stroke-width``, None is left out.

    >>> tag("b", "<i>", tag("br"), title='a "quote"')
    '<b title="a &quot;quote&quot;">&lt;i&gt;<br></b>'
    """
    shown = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_text(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    content = join(*children)
    return Markup(f"<{name}{shown}>" + ("" if name == "br" else f"{content}</{name}>"))


def join(*children: str) -> Markup:
    """The parts one after another."""
    return Markup("".join(c if isinstance(c, Markup) else escape(c) for c in children))


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"
