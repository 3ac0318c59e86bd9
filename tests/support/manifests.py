"""The files of `deploy/`, and the schemas that they are held against."""

from configparser import ConfigParser
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate  # type: ignore[import-untyped]
import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES_FOLDER = DEPLOY / "kubernetes"
PROCESSOR = KUBERNETES_FOLDER / "processor"
KNATIVE = KUBERNETES_FOLDER / "knative"
OVERLAYS = KUBERNETES_FOLDER / "overlays"
CRDS = ROOT / "tests" / "data" / "crds"

#: The Kubernetes release whose schemas built-in kinds are held against.
KUBERNETES = "1.32"

Manifest = dict[str, Any]


def read(path: Path) -> list[Manifest]:
    """The documents of a file, without empty ones."""
    text = path.read_text(encoding="utf-8")
    return [
        each for each in yaml.load_all(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)) if each
    ]


def read_one(path: Path) -> Manifest:
    """The only document of a file."""
    (manifest,) = read(path)
    return manifest


def resources(folder: Path) -> list[Manifest]:
    """What a kustomization builds, by the rules of kustomize that `deploy/` uses: resources (files and
    other kustomizations), strategic merge patches, namespace, labels, images."""
    kustomization = read_one(folder / "kustomization.yaml")
    known = {"apiVersion", "kind", "resources", "patches", "namespace", "labels", "images"}
    assert kustomization.keys() <= known, kustomization.keys() - known
    manifests: list[Manifest] = []
    for name in kustomization["resources"]:
        path = folder / name
        manifests += resources(path.resolve()) if path.is_dir() else read(path)
    for patch in kustomization.get("patches", ()):
        manifests = _patched(manifests, read_one(folder / patch["path"]))
    for manifest in manifests:
        if manifest["kind"] != "Namespace":
            manifest["metadata"]["namespace"] = kustomization["namespace"]
        for labels in kustomization.get("labels", ()):
            _label(manifest, labels["pairs"])
        for image in kustomization.get("images", ()):
            _tag(manifest, image)
    return manifests


def _name(manifest: Manifest) -> tuple[str, str]:
    return manifest["kind"], manifest["metadata"]["name"]


def _patched(manifests: list[Manifest], patch: Manifest) -> list[Manifest]:
    def same(manifest: Manifest) -> bool:
        return _name(manifest) == _name(patch)

    (target,) = filter(same, manifests)
    if patch.get("$patch") == "delete":
        return [each for each in manifests if each is not target]
    _merge(target, patch)
    return manifests


#: The lists of a pod that merge by a field of their entries.
_MERGE_KEYS = {"containers": "name", "volumes": "name", "volumeMounts": "mountPath"}


def _merge(target: Manifest, patch: Manifest) -> None:
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, list):
            _merge_list(target.setdefault(key, []), value, _MERGE_KEYS[key])
        elif isinstance(value, dict) and isinstance(target.get(key), dict):
            _merge(target[key], value)
        else:
            target[key] = value


def _merge_list(target: list[Manifest], patch: list[Manifest], key: str) -> None:
    """Merge entries by the key; kustomize puts new ones before those that are there."""
    known = {each[key]: each for each in target}
    for entry in patch:
        if entry[key] in known:
            _merge(known[entry[key]], entry)
    target[:0] = [entry for entry in patch if entry[key] not in known]


def _label(manifest: Manifest, pairs: dict[str, str]) -> None:
    places = [manifest["metadata"]]
    spec = manifest.get("spec", {})
    if "template" in spec:
        places.append(spec["template"]["metadata"])
    places += [each["metadata"] for each in spec.get("volumeClaimTemplates", ())]
    for metadata in places:
        metadata.setdefault("labels", {}).update(pairs)


def _tag(manifest: Manifest, image: dict[str, str]) -> None:
    pod = manifest.get("spec", {}).get("template", {}).get("spec", {})
    for container in pod.get("containers", ()):
        if container["image"] == image["name"]:
            container["image"] = f"{image['name']}:{image['newTag']}"


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


@cache
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


@cache
def _crds() -> tuple[Manifest, ...]:
    return tuple(each for path in sorted(CRDS.glob("*.yaml")) for each in read(path))


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
