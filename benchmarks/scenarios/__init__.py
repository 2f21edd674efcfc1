"""All scenarios by name. A new one is a module here that ends in a `Scenario`, and a line below."""

from benchmarks.scenario import Scenario
from benchmarks.scenarios import (
    continual,
    faults,
    online,
    online_digits,
    paper_mnist_online,
    recovery,
    service,
    step_time,
    streams,
)

SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        *(curriculum.scenario() for curriculum in continual.CURRICULA),
        faults.FAULTS,
        online_digits.ONLINE_DIGITS,
        *(stream.scenario() for stream in online.STREAMS),
        paper_mnist_online.PAPER_MNIST_ONLINE,
        recovery.RECOVERY,
        service.SERVICE,
        step_time.STEP_TIME,
        *streams.STREAMS,
    )
}
