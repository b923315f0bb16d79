"""How much the weights of one model may take, all of them together."""

from jaxgru.weights.limits import check_declared


class Budget:
    """Bytes spent on a model's arrays, which stay within what files of such a size may ask for.

    A small model can ask for a lot: by joining an array with itself over and over, or by a
    thousand nodes with the same weights.
    """

    def __init__(self, file_size: int) -> None:
        self.file_size = file_size  # in bytes, with that of each file beside the model
        self._spent = 0

    def spend(self, size: int) -> None:
        """Count bytes that are about to be allocated; raise WeightsError if they are too many."""
        self._spent += size
        check_declared(self._spent, self.file_size)
