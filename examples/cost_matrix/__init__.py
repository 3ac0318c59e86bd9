"""A custom statistic: what wrong answers cost, by a matrix of costs.

PROCESSOR_CUSTOM_STATISTICS=on processor report predictions.csv --models examples/cost_matrix/models.yaml
"""

from collections.abc import Mapping

from processor import JudgedItem

#: The cost of a wrong answer in cents, by the actual and the predicted label.
COSTS = {("spam", "ham"): 20, ("ham", "spam"): 500}
#: The cost of a wrong answer that the matrix does not have, or whose actual label is unknown.
OTHER = 100


class CostMatrix:
    """Cost of wrong answers in cents: the mean per judged item, and the total."""

    def contribute(self, item: JudgedItem) -> Mapping[str, int]:
        """The item, and its cost."""
        if item.task != "classification":
            return {}
        wrong = item.actual != item.predicted
        cost = COSTS.get((str(item.actual), str(item.predicted)), OTHER) if wrong else 0
        return {"items": 1, "cost": cost}

    def scores(self, sums: Mapping[str, int]) -> Mapping[str, float | None]:
        """The mean cost per item, which is undefined without items, and the total."""
        items, cost = sums["items"], sums["cost"]
        return {"mean": cost / items if items else None, "total": cost}
