"""The name of a model: what metrics are kept for."""

from typing import NamedTuple


class ModelKey(NamedTuple):
    """What has metrics of its own: one node of one predictor of one deployment."""

    namespace: str
    deployment: str
    predictor: str
    model: str
