"""Reading the models file, and reading it again when it has changed."""

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import yaml

from processor.domain.model_rules import ModelRules, Place, parse_rules
from processor.errors import SettingsError

logger = logging.getLogger(__name__)

#: Seconds between looks at the file.
_LOOK = 2.0


def read_models_file(path: Path | None) -> ModelRules:
    """The rules of a YAML file; none without a path. `SettingsError` says where it is wrong."""
    if path is None:
        return ModelRules()
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, yaml.SafeLoader)
        content = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"models file {path} can't be read: {error}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise SettingsError(f"models file {path} is not YAML: {_yaml_trouble(error)}") from None
    for name, line in _repeated(node):
        raise SettingsError(f"models file {path}, line {line}: {name!r} stands twice: keep one")
    return parse_rules(content, str(path), lambda place: _line(node, place))


def _yaml_trouble(error: yaml.YAMLError | RecursionError) -> str:
    """Where and what, in a line; PyYAML's own text calls the file "<unicode string>"."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        context = f" {error.context}" if error.context else ""
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}{context}"
    if isinstance(error, yaml.reader.ReaderError):
        return f"character {error.position + 1}: {error.reason}"
    return " ".join(str(error).split())


async def follow_models_file(path: Path, rules: ModelRules) -> None:
    """Put a changed file into ``rules``, until cancelled; a wrong one is told of and left out."""
    seen: object = ()  # it may have changed between the start's reading and now
    while True:
        stamp = await asyncio.to_thread(_stamp, path)
        if stamp != seen:
            seen = stamp
            await _read_again(path, rules)
        await asyncio.sleep(_LOOK)


async def _read_again(path: Path, rules: ModelRules) -> None:
    try:
        found = await asyncio.to_thread(read_models_file, path)
    except SettingsError as error:
        logger.error("%s; the rules stay as they were", error)
        return
    if found.entries != rules.entries:
        rules.replace(found.entries)
        logger.warning(
            "models file %s has changed: its entries (%d) apply to new events",
            path,
            len(found.entries),
        )


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """What changes with the file; None while there is none."""
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_mtime_ns, state.st_size, state.st_ino


def _line(node: yaml.Node | None, place: Place) -> int | None:
    """The line of a place, or of the nearest one that the file has around it."""
    line = None if node is None else node.start_mark.line + 1
    for step in place:
        if isinstance(node, yaml.MappingNode):
            found = next((pair for pair in node.value if pair[0].value == str(step)), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            node = node.value[step]
            line = node.start_mark.line + 1
        else:
            break
    return line


def _repeated(node: yaml.Node | None) -> Iterator[tuple[str, int]]:
    """Keys that stand twice in a mapping, which YAML forbids and its reader takes the last of."""
    left, seen = [node], {id(None)}
    while left:
        node = left.pop()
        if id(node) in seen:
            continue  # an alias
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            names = set()
            for key, value in node.value:
                if isinstance(key.value, str):
                    if key.value in names:
                        yield key.value, key.start_mark.line + 1
                    names.add(key.value)
                left.append(value)
        elif isinstance(node, yaml.SequenceNode):
            left += node.value
