"""Reading the models file."""

from pathlib import Path

import yaml

from processor.domain.models import ModelRules, parse_rules
from processor.errors import SettingsError


def read_models_file(path: Path | None) -> ModelRules:
    """The rules of a YAML file; none without a path. `SettingsError` says where it is wrong."""
    if path is None:
        return ModelRules()
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"models file {path} can't be read: {error}") from None
    except yaml.YAMLError as error:
        what = " ".join(str(error).split())
        raise SettingsError(f"models file {path} is not YAML: {what}") from None
    return parse_rules(content, str(path))
