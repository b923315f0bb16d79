"""A function's values, its derivatives in both modes and its second derivative, in one program."""

import jax
import jax.numpy as jnp

ORDERS = ("forward over reverse", "reverse over reverse", "reverse over forward")


def to_second_order(function, arguments, direction, weights, order=ORDERS[0]):
    """Return the derivatives of a function from a structure of arrays to another, at ``arguments``.

    A dictionary: its outputs; how they move along ``direction``; the gradient of the sum of all
    outputs, each times its number in ``weights``; and how that gradient moves along ``direction``,
    by one of three orders of JAX's two modes.
    """

    return _compiled(function, order)(arguments, direction, weights)


def _compiled(function, order):
    @jax.jit
    def derivatives(arguments, direction, weights):
        def loss(arguments):
            outputs = function(arguments)
            return _inner(outputs, weights), outputs

        def slope_of_gradient(arguments):
            gradient, outputs = jax.grad(loss, has_aux=True)(arguments)
            return _inner(gradient, direction), (gradient, outputs)

        def slope_of_tangents(arguments):
            outputs, tangents = jax.jvp(function, (arguments,), (direction,))
            return _inner(tangents, weights), (outputs, tangents)

        if order == "forward over reverse":
            gradient_of = jax.grad(loss, has_aux=True)
            first, second = jax.jvp(gradient_of, (arguments,), (direction,))
            (gradient, outputs), (second, tangents) = first, second
            found = {"gradient": gradient, "tangents": tangents}
        elif order == "reverse over reverse":
            second, (gradient, outputs) = jax.grad(slope_of_gradient, has_aux=True)(arguments)
            found = {"gradient": gradient}
        else:
            second, (outputs, tangents) = jax.grad(slope_of_tangents, has_aux=True)(arguments)
            found = {"tangents": tangents}
        return found | {"outputs": outputs, "second": second}

    return derivatives


def _inner(tree, others):
    """Return the sum of all products, in double precision where JAX has that."""
    products = jax.tree.map(lambda a, b: (a.astype(float) * b.astype(float)).sum(), tree, others)
    return sum(jax.tree.leaves(products), jnp.zeros(()))
