"""jaxgru, with the native loops where they are installed, and as a scan."""

import jaxgru
from benchmarks.contenders.contender import Apply, JaxContender
from benchmarks.problem import Shape, Weights
from jaxgru._recurrence.layer import Implementation


class Jaxgru(JaxContender):
    """``jaxgru.gru``."""

    def __init__(self, implementation: Implementation = "auto") -> None:
        self.implementation = implementation

    def weights(self, weights: Weights) -> jaxgru.GRUParams:
        return jaxgru.GRUParams(*weights)

    def layer(self, shape: Shape) -> Apply:
        options = {"implementation": self.implementation}
        return lambda params, h, xs: jaxgru.gru(params, xs, h, **options)[0]
