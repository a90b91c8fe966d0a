"""Metrics as Prometheus reads them."""

from collections.abc import Iterable
from urllib.request import urlopen

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families


class Scraped:
    """One scrape: what each metric says."""

    def __init__(self, families: Iterable[Metric]) -> None:
        samples = [sample for family in families for sample in family.samples]
        self._values = {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}

    def __call__(self, name: str, **labels: str) -> float | None:
        """The value of `kehu_<name>` with exactly these labels; None when there is none."""
        return self._values.get((f"kehu_{name}", frozenset(labels.items())))

    def by(self, label: str, name: str, **labels: str) -> dict[str, float]:
        """The values of `kehu_<name>` by one label, where the others are these."""
        return {
            of[label]: value
            for (found, pairs), value in self._values.items()
            if found == f"kehu_{name}" and (of := dict(pairs)).keys() == {label, *labels} and labels.items() <= pairs
        }

    def sum(self, name: str) -> float:
        """The sum of `kehu_<name>` over all labels."""
        return sum(value for (found, _), value in self._values.items() if found == f"kehu_{name}")


def scrape(port: int) -> Scraped:
    """What a worker on this machine tells."""
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        return Scraped(text_string_to_metric_families(answer.read().decode()))


def of(registry: CollectorRegistry) -> Scraped:
    """What a registry holds."""
    return Scraped(registry.collect())
