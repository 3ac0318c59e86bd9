"""Build HTML and SVG: text is escaped unless it is `Markup`, so that names cannot inject markup."""

from html import escape


class Markup(str):
    """Text that is already HTML, and is not escaped."""

    __slots__ = ()


def tag(name: str, *children: str, **attributes: str | float | None) -> Markup:
    """An element with its children. The attribute ``class`` is written ``class_``, ``stroke-width`` is
    written ``stroke_width``; attributes that are None are left out.

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
    """Concatenate parts; those that are not `Markup` are escaped."""
    return Markup("".join(c if isinstance(c, Markup) else escape(c) for c in children))


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"
