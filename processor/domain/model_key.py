"""The key of a model, by which metrics are kept."""

from typing import NamedTuple


class ModelKey(NamedTuple):
    """A model with its own metrics: one node of one predictor of one deployment. ``model`` is the name
    of the node; an empty name means that the events do not name it."""

    namespace: str
    deployment: str
    predictor: str
    model: str
