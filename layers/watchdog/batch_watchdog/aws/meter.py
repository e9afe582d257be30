"""Write metrics into the log, in CloudWatch's embedded metric format: that takes no API call."""

from collections import defaultdict
from collections.abc import Sequence

from batch_watchdog.measures.measures import NAMESPACE, Measure

_METRICS_MAX = 100  # in one line of the log, as AWS allows


def emit(measures: Sequence[Measure]) -> None:
    """Write measures into the function's log, from which CloudWatch takes them."""
    # Only sweep and act measure anything: no other function loads this.
    from aws_lambda_powertools.metrics import EphemeralMetrics  # noqa: PLC0415

    together: dict[tuple[tuple[str, str], ...], list[Measure]] = defaultdict(list)
    for each in measures:
        together[tuple((each.by or {}).items())].append(each)
    for dimensions, some in together.items():
        metrics = EphemeralMetrics(namespace=NAMESPACE)
        for name, value in dimensions:
            metrics.add_dimension(name=name, value=value)
        for each in some[:_METRICS_MAX]:
            metrics.add_metric(name=each.name, unit=each.unit, value=each.value)
        metrics.flush_metrics()
