"""Read the models file, and read it again when it has changed."""

import asyncio
import importlib
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from processor.domain.model_rules import ModelRules, YamlPath, parse_rules
from processor.domain.statistics.custom import Statistic, registry
from processor.errors import SettingsError

logger = logging.getLogger(__name__)

#: Seconds between checks of the file.
_INTERVAL = 2.0


def read_models_file(path: Path | None, custom_statistics: bool = False) -> ModelRules:
    """The rules in a YAML file; no rules if ``path`` is None. `SettingsError` names the line of an
    invalid entry.

    The custom statistics that the file names are loaded and published by this process, if
    ``custom_statistics`` (PROCESSOR_CUSTOM_STATISTICS) allows it.
    """
    if path is None:
        return _with_statistics(ModelRules(), "", custom_statistics)
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, yaml.SafeLoader)
        content = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"models file {path} can't be read: {error}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise SettingsError(f"models file {path} is not YAML: {_yaml_problem(error)}") from None
    for name, line in _duplicate_keys(node):
        raise SettingsError(f"models file {path}, line {line}: {name!r} is duplicated: keep one")
    rules = parse_rules(content, str(path), lambda where: _line(node, where))
    return _with_statistics(rules, str(path), custom_statistics, lambda where: _line(node, where))


def read_models(content: Mapping[str, Any], custom_statistics: bool = False) -> ModelRules:
    """The rules of a models file that is given as its content, as `read_models_file`."""
    return _with_statistics(parse_rules(dict(content), "(given)"), "(given)", custom_statistics)


def _with_statistics(
    rules: ModelRules,
    source: str,
    allowed: bool,
    line_of: Callable[[YamlPath], int | None] = lambda path: None,
) -> ModelRules:
    """Load and publish the statistics that some rules name. Returns the rules."""
    registry.allow(_load_class if allowed else None)
    places: dict[str, str] = {}
    for number, entry in enumerate(rules.entries):
        for position, place in enumerate(entry.statistics):
            problem = None
            try:
                name = registry.prepare(place).name
                if places.setdefault(name, place) != place:
                    problem = f"has the name {name!r}, as {places[name]} has: rename one of them"
            except ValueError as error:
                problem = str(error)
            if problem is not None:
                line = line_of(("models", number, "statistics", position))
                where = f"{source}, line {line}" if line else source
                raise SettingsError(
                    f"models file {where}: models[{number}].statistics: {place} {problem}"
                )
    registry.publish(places.values())
    return rules


def _load_class(place: str) -> type[Statistic]:
    """The class at ``package.module:Class``. `ValueError` with a message for users if there is none."""
    name, _, attribute = place.partition(":")
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"needs the module {error.name}, which is not there: install it, or put its folder on "
            "PYTHONPATH"
        ) from None
    except Exception as error:  # a module of the user's may raise anything
        raise ValueError(f"can't be imported: {type(error).__name__}: {error}") from None
    found = getattr(module, attribute, None)
    if not isinstance(found, type):
        what = "no class" if found is None else "no class, but another object,"
        raise ValueError(f"can't be found: the module {name} has {what} {attribute}")
    return found


def _yaml_problem(error: yaml.YAMLError | RecursionError) -> str:
    """The position and the problem in one line, since PyYAML's own message names no file."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        context = f" {error.context}" if error.context else ""
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}{context}"
    if isinstance(error, yaml.reader.ReaderError):
        return f"character {error.position + 1}: {error.reason}"
    return " ".join(str(error).split())


class FollowedModelsFile:
    """Replaces the entries of ``rules`` whenever the models file changes; an invalid file changes
    nothing."""

    def __init__(self, path: Path, rules: ModelRules, custom_statistics: bool = False) -> None:
        self.last_error = ""
        """What is wrong with the file as it is now; empty if nothing is."""
        self._path = path
        self._rules = rules
        self._custom_statistics = custom_statistics

    async def run(self) -> None:
        """Look for changes until cancelled."""
        known: object = ()  # the file may have changed since it was read at the start
        while True:
            stamp = await asyncio.to_thread(_stamp, self._path)
            if stamp != known:
                known = stamp
                await self._reload()
            await asyncio.sleep(_INTERVAL)

    async def _reload(self) -> None:
        rules = self._rules
        try:
            changed = await asyncio.to_thread(read_models_file, self._path, self._custom_statistics)
        except SettingsError as error:
            self.last_error = f"{error}; the rules stay as they were"
            return
        self.last_error = ""
        if changed.entries != rules.entries:
            rules.replace(changed.entries)
            logger.warning(
                "models file %s has changed: its entries (%d) apply to new events, its limits for "
                "alerts at once",
                self._path,
                len(changed.entries),
            )


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """Modification time, size and inode of the file, to notice changes; None if it is missing."""
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_mtime_ns, state.st_size, state.st_ino


def _line(node: yaml.Node | None, path: YamlPath) -> int | None:
    """The line of a path, or of the innermost node on the path that the file has."""
    line = None if node is None else node.start_mark.line + 1
    for step in path:
        if isinstance(node, yaml.MappingNode):
            pair = next((pair for pair in node.value if pair[0].value == str(step)), None)
            if pair is None:
                break
            line, node = pair[0].start_mark.line + 1, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            node = node.value[step]
            line = node.start_mark.line + 1
        else:
            break
    return line


def _duplicate_keys(node: yaml.Node | None) -> Iterator[tuple[str, int]]:
    """The duplicate keys of mappings, with their lines. YAML forbids duplicates, but PyYAML silently
    keeps the last one."""
    remaining, visited = [node], {id(None)}
    while remaining:
        node = remaining.pop()
        if id(node) in visited:
            continue  # an alias
        visited.add(id(node))
        if isinstance(node, yaml.MappingNode):
            names = set()
            for key, value in node.value:
                if isinstance(key.value, str):
                    if key.value in names:
                        yield key.value, key.start_mark.line + 1
                    names.add(key.value)
                remaining.append(value)
        elif isinstance(node, yaml.SequenceNode):
            remaining += node.value
