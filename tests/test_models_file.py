"""The models file on disk: lines in errors, and changes while the service runs."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from processor import models_file
from processor.domain.model_key import ModelKey
from processor.domain.model_rules import ModelRules
from processor.domain.statistics.custom import registry
from processor.errors import SettingsError
from processor.models_file import FollowedModelsFile, read_models_file

KEY = ModelKey("vision", "pets", "default", "classifier")


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("models:\n  - match: a/b\n\n  - match: vision/pets\n    output: number\n", 5,
         "models[1].output is 'number': expected scores, probability or label"),
        ("models:\n  - match: pets\n", 2, "models[0].match is 'pets': expected namespace/deployment"),
        ("models:\n  - match: a/b\n    judge_by: both\n", 3, "expected truth or reward"),
        ("models:\n  - match: a/b\n    threshold: 1.5\n", 3, "is 1.5: expected a number above 0"),
        ("models:\n  - match: a/b\n    labels: {0: cat}\n", 3, "quote numbers"),
        ("models:\n  - match: a/b\n    classes: [no, yes]\n", 3, "quote numbers, yes and no"),
        ("models:\n  - match: a/b\n    outputs: x\n", 3, "has 'outputs': expected match, output,"),
        ("models:\n  - output: label\n", 2, "models[0] has no match"),
        ("model:\n  - match: a/b\n", 1, "has 'model': expected only models"),
        ("models:\n  - match: a/b\n    output: label\n    output: scores\n", 4, "is duplicated"),
        ("- match: a/b\n", 1, "expected only models"),
    ],
)  # fmt: skip
def test_errors_name_the_line(tmp_path: Path, text: str, line: int, message: str) -> None:
    path = tmp_path / "models.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError) as error:
        read_models_file(path)
    assert str(error.value).startswith(f"models file {path}, line {line}: ")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("models: [", "is not YAML: line 1, column 10: expected the node content"),
        (
            "models:\n  a: b: c",
            "is not YAML: line 2, column 7: mapping values are not allowed here",
        ),
        ("a: *b", "is not YAML: line 1, column 4: found undefined alias 'b'"),
        ("models: \x00", "is not YAML: character 9: special characters are not allowed"),
        ("a: &x [*x]\nb: 1\nb: 2", "line 3: 'b' is duplicated"),
    ],
)
def test_what_is_no_yaml_is_told(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "models.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError) as error:
        read_models_file(path)
    assert str(error.value).startswith(f"models file {path}")
    assert message in str(error.value)
    assert "unicode string" not in str(error.value)


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def _following(
    path: Path, custom_statistics: bool = False
) -> AsyncIterator[tuple[ModelRules, Callable[[str], Callable[[], bool]]]]:
    """The rules, and a condition that the file has an error with a text."""
    rules = read_models_file(path, custom_statistics)
    file = FollowedModelsFile(path, rules, custom_statistics)
    task = asyncio.create_task(file.run())
    try:
        yield rules, lambda text: lambda: text in file.last_error
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_changed_file_is_followed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change is logged; an invalid file leaves the rules unchanged until it is valid again."""
    monkeypatch.setattr(models_file, "_INTERVAL", 0.01)
    caplog.set_level(logging.INFO)
    path = tmp_path / "models.yaml"
    path.write_text("models: [{match: vision/*, threshold: 0.2}]\n")

    def write(text: str) -> None:
        # Kubernetes replaces the file atomically.
        (tmp_path / "new").write_text(text)
        (tmp_path / "new").replace(path)

    def logged(text: str) -> Callable[[], bool]:
        return lambda: text in caplog.text

    async with _following(path) as (rules, refused):
        assert rules(KEY).threshold == 0.2
        write("models: [{match: vision/*, threshold: 0.3}]\n")
        await _until(logged("has changed: its entries (1) apply to new events"))
        assert rules(KEY).threshold == 0.3
        write("models:\n  - match: vision/*\n    threshold: high\n")
        await _until(refused("line 3: models[0].threshold is 'high'"))
        assert refused("the rules stay as they were")()
        assert rules(KEY).threshold == 0.3
        path.unlink()
        await _until(refused("can't be read"))
        assert rules(KEY).threshold == 0.3
        write("models: []\n")
        await _until(lambda: rules(KEY).threshold == 0.5)
        assert not refused("models file")()


async def test_statistics_of_ones_own_are_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that the file names are published; one that can't be loaded leaves all as it is."""
    monkeypatch.setattr(models_file, "_INTERVAL", 0.01)
    path = tmp_path / "models.yaml"

    def write(*names: str) -> None:
        places = [f"tests.support.own_statistics:{name}" for name in names]
        (tmp_path / "new").write_text(f"models:\n- match: '*/*'\n  statistics: {places}\n")
        (tmp_path / "new").replace(path)

    write("Picky")
    try:
        async with _following(path, custom_statistics=True) as (rules, refused):
            assert list(registry.published) == ["picky"]
            write("Picky", "Everything")
            await _until(lambda: list(registry.published) == ["everything", "picky"])
            await _until(lambda: len(rules(KEY).statistics) == 2)
            write("Everything", "Nothing")
            await _until(refused("line 3: models[0].statistics: "))
            assert refused("has no class Nothing; the rules stay as they were")()
            assert list(registry.published) == ["everything", "picky"]
            write("Everything")
            await _until(lambda: list(registry.published) == ["everything"])
    finally:
        read_models_file(None)
    assert not registry.published
