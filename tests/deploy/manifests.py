"""The files of `deploy/`, and the schemas that they are held against."""

from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate  # type: ignore[import-untyped]
import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
PROCESSOR = DEPLOY / "kubernetes" / "processor"
KNATIVE = DEPLOY / "kubernetes" / "knative"
CRDS = ROOT / "tests" / "data" / "crds"

#: The Kubernetes release whose schemas built-in kinds are held against.
KUBERNETES = "1.32"

Manifest = dict[str, Any]


def read(path: Path) -> list[Manifest]:
    """The documents of a file, without empty ones."""
    return [each for each in yaml.safe_load_all(path.read_text(encoding="utf-8")) if each]


def read_one(path: Path) -> Manifest:
    """The only document of a file."""
    (manifest,) = read(path)
    return manifest


def resources(folder: Path) -> list[Manifest]:
    """The manifests that a kustomization names, in its order, in its namespace."""
    kustomization = read_one(folder / "kustomization.yaml")
    manifests = [each for name in kustomization["resources"] for each in read(folder / name)]
    for manifest in manifests:
        manifest["metadata"].setdefault("namespace", kustomization["namespace"])
    return manifests


def find(folder: Path, kind: str, name: str = "") -> Manifest:
    """The only manifest of a kind, and of a name if one is given."""
    (manifest,) = (
        each
        for each in resources(folder)
        if each["kind"] == kind and name in ("", each["metadata"]["name"])
    )
    return manifest


def setup_cfg() -> ConfigParser:
    """The project's `setup.cfg`."""
    config = ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return config


def validate(manifest: Manifest) -> None:
    """Hold a manifest against its kind's schema; a field that the kind lacks is an error too."""
    schema = _crd_schema(manifest["apiVersion"], manifest["kind"])
    if schema is None:
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
    else:
        jsonschema.Draft202012Validator(schema).validate(manifest)


def _crd_schema(api_version: str, kind: str) -> Any:
    group, _, version = api_version.rpartition("/")
    for crd in _crds():
        spec = crd["spec"]
        if (spec["group"], spec["names"]["kind"]) == (group, kind):
            (schema,) = (
                each["schema"]["openAPIV3Schema"]
                for each in spec["versions"]
                if each["name"] == version and each["served"]
            )
            # These stand in every object, and some CRDs leave them out.
            for name in ("apiVersion", "kind", "metadata"):
                schema["properties"].setdefault(name, {})
            return _closed(schema)
    return None


def _crds() -> Iterator[Manifest]:
    for path in sorted(CRDS.glob("*.yaml")):
        yield from read(path)


def _closed(schema: Any) -> Any:
    """The schema with unknown fields refused: a cluster would drop them in silence."""
    if not isinstance(schema, dict):
        return schema
    schema = dict(schema)
    if "properties" in schema:
        schema["properties"] = {name: _closed(each) for name, each in schema["properties"].items()}
        schema.setdefault("additionalProperties", False)
    for name in ("items", "additionalProperties"):
        if name in schema:
            schema[name] = _closed(schema[name])
    return schema
