"""What a graph does between GRU nodes, its inputs and its outputs: order of time, joins, stacks.

An input that is reversed makes a forward node one that runs backward, and outputs that are joined
are those of both directions. What moves values in another way is named in a note. What only
computes features, such as a MatMul, is another layer, where the way ends.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from jaxgru._weights.errors import shown
from jaxgru._weights.formats.onnx.before import Before
from jaxgru._weights.formats.onnx.constants import Constants, described
from jaxgru._weights.formats.onnx.graphs import Place, Scope, attributes_of, get, is_standard
from jaxgru._weights.formats.onnx.moves import BATCH, TIME, UNITS, View
from jaxgru._weights.formats.onnx.views import Views, layout
from jaxgru._weights.formats.onnx.ways import MOVING, is_move, roots

_RESHAPING = ("Flatten", "Reshape")


class Wired(NamedTuple):
    """How a GRU node, or a pair of them, is wired."""

    goes_back: bool = False  # whether its first step is the last one of the model's
    inputs: str | None = None  # see Found
    merge: str | None = None  # how the graph joins both directions; None: it does not show it
    notes: tuple[str, ...] = ()
    is_swapped: bool = False  # whether the graph joins the second direction of a node first
    partner: str | None = None  # the node of the other direction of the same layer, joined second


class Flow:
    """The wiring of a model, given its sound GRU nodes by name with their directions."""

    def __init__(self, grus: Mapping[str, tuple[Place, str]], constants: Constants) -> None:
        self._grus = grus
        self._views = Views(grus, constants)
        self._before = Before(self._views)

    def wired(self, name: str) -> Wired:
        """Return how a node is wired; for the first node of a pair, how the pair is."""
        inputs = self._views.inputs(name)
        ends, notes = list(self._ends(name)), list(self._notes_on_inputs(name, inputs))
        joins = _joins(ends)
        alone: tuple[tuple[tuple[str, int], ...], str | None] = ((), None)
        parts, merge = next(iter(joins)) if len(joins) == 1 else alone
        for end in ends:
            notes += self._notes_on_outputs(self._grus[name][0].scope, *end)
        goes_back = self._views.goes_back(name, inputs)
        wired = Wired(goes_back, self._named(name, inputs), merge, tuple(dict.fromkeys(notes)))
        if len({held for held, _ in parts}) < 2:
            return wired._replace(is_swapped=self._is_swapped(name))
        other = next(held for held, _ in parts if held != name)
        is_pair = (
            self._runs_back(name) != self._runs_back(other)
            and _joins(self._ends(other)) == {(parts, merge)}
            and inputs is not None
            and (view := self._views.inputs(other)) is not None
            and (view.source, view.parts, view.touched) == (
                inputs.source, inputs.parts, inputs.touched)
        )  # fmt: skip
        is_first = parts[0][0] == name
        return wired._replace(
            merge=merge if is_pair else None, partner=other if is_pair and is_first else None
        )

    def _runs_back(self, name: str) -> bool:
        is_reverse = self._grus[name][1] == "reverse"
        return self._views.goes_back(name, self._views.inputs(name)) != is_reverse

    def _is_swapped(self, name: str) -> bool:
        """Return whether the second direction of a node is joined before its first."""
        return _joins(self._ends(name)) == {(((name, 1), (name, 0)), "concat")}

    def _named(self, name: str, view: View | None) -> str | None:
        """Return what the inputs of a GRU are, see Found."""
        if view is None:
            return None
        time = layout(self._grus[name][0])
        made_by = view.along(time) or view.along(2)
        if made_by is not None:
            return f"the outputs of {described(made_by)}"
        if view.parts:
            places = (view.axes[time], view.axes[1 - time], view.axes[2])
            names = list(dict.fromkeys(held for held, _ in view.parts))
            if places not in ((TIME, BATCH, UNITS), (~TIME, BATCH, UNITS)):
                return f"no sequence of {names[0]} in the order of time"
            if view.merge == "concat" and view.parts[0][1] != self._is_swapped(names[0]):
                return f"the directions of {names[0]} in the other order"
            whole = 2 if len(names) > 1 or self._grus[names[0]][1] == "bidirectional" else 1
            return ",".join(names) if len(view.parts) == whole else f"one direction of {names[0]}"
        scope, value = view.source
        if value not in scope.producers:
            return "those of the model"
        node = scope.producers[value]
        if not is_standard(node):
            return None
        return f"the outputs of {described(node)}"

    def _notes_on_inputs(self, name: str, view: View | None) -> Iterator[str]:
        if view is None:
            return
        place = self._grus[name][0]
        time, given = layout(place), str((*place.node.input, *[""] * 4)[4])
        kinds = {"steps": time, "batch": 1 - time, "features": 2}
        moved: dict[str, list[str]] = {}
        for what, axis in kinds.items():
            if (node := view.along(axis)) is not None:
                moved.setdefault(described(node), []).append(what)
            elif view.axes[axis] < 0 and what != "steps":
                yield f"the graph reverses the {what} of its inputs: do so before"
        for node_name, changed in moved.items():
            axes = "axes" if len(changed) == 3 else " and ".join(changed)
            yield (
                f"in the graph, {node_name} changes the {axes} of its inputs: give the GRU what "
                "that computes"
            )
        scope, value = view.source
        is_input = not (moved or view.parts) and value not in scope.producers
        if is_input and len(scope.shapes.get(value, ())) > max(view.axes[2], ~view.axes[2]) + 1:
            yield (
                f"the features of its inputs are not along the last axis of {shown(value)}: "
                "transpose that to (batch, time, features)"
            )
        has_lengths = given and not self._views.is_full(place.scope, given)
        if view.lengths - {given}:
            yield (
                f"the graph reverses only as many steps as {shown(min(view.lengths))} says: give "
                "this as lengths"
            )
        elif view.axes[time] < 0 and has_lengths and not view.lengths:
            yield "the graph reverses its inputs with their padding: lengths mean other steps then"
        if not view.parts:
            yield from self._notes_on_what_is_before(view, time, moved)

    def _notes_on_what_is_before(
        self, view: View, time: int, noted: Collection[str]
    ) -> Iterator[str]:
        if not noted and (node := self._before.computing(view)) is not None:
            yield (
                f"in the graph, {described(node)} changes the values of its inputs: give the GRU "
                "what that computes"
            )
        elif (node := self._before.reordering(*view.source)) is not None and (
            described(node) not in noted
        ):
            yield (
                f"in the graph, {described(node)} reorders what the inputs are computed from: "
                "give the GRU what the graph gives it"
            )
        if not noted and (found := self._before.time_major(view, time)) is not None:
            name, axis, known = found
            yield (
                f"in the graph, its steps are along axis {axis} of {shown(name)}, of sizes "
                f"{shown(known)}, before the sequences of a batch: give such inputs with "
                "time_major=True, and compare ys with the graph's outputs"
            )

    def _notes_on_outputs(self, scope: Scope, view: View, user: Any) -> Iterator[str]:
        by = described(user) if user is not None else "an output"
        names = dict.fromkeys(held for held, _ in view.parts)
        if len(names) > 1 and any(self._grus[held][1] == "bidirectional" for held in names):
            yield (
                f"in the graph, single directions of {' and '.join(map(shown, names))} are joined: "
                "join those of ys for the same"
            )
        if user is not None and user.op_type == "GRU":  # see its own inputs
            return
        if ~TIME in view.axes:
            yield (
                f"the outputs reach {by} of the graph in the reversed order of time: reverse the "
                "steps of ys for the same"
            )
        if ~UNITS in view.axes or ~BATCH in view.axes:
            yield f"the outputs reach {by} of the graph in another order: reorder ys for the same"
        if user is None and len(view.axes) == 3 and view.axes[2] in (TIME, BATCH):
            yield f"the outputs reach {by} of the graph with other axes: transpose ys for the same"
        moved = {
            what: node
            for what, label in (("steps", TIME), ("batch", BATCH), ("units", UNITS))
            # Not those that leave something out.
            if (node := view.touched.get(label)) and node.op_type not in ("Slice", "Split")
        }
        cut = view.touched.get(UNITS)
        if user is not None and user.op_type == "Concat" and cut is not None:
            moved = {"units": user}
        if not moved and user is not None and self._moves_on(scope, view, user):
            moved = {"steps or units": user}
        for what, node in moved.items():
            yield (
                f"in the graph, {described(node)} changes the {what} of the outputs: do so with ys "
                "for the same"
            )

    def _moves_on(self, scope: Scope, view: View, user: Any) -> bool:
        """Return whether a node, which is not followed, moves the outputs to one of the graph."""
        if not is_move(scope, user) or user.op_type not in (*MOVING, *_RESHAPING, "Concat"):
            return False
        if user.op_type == "Concat":
            axis = get(attributes_of(user), "axis", "int", 0)
            if view.axes[axis : axis + 1 or None] in ((TIME,), (~TIME,)):
                return True
            if len(roots(scope, str(user.output[0]))) != 1:
                return False
        waiting, seen = [user], set()
        while waiting:
            node = waiting.pop()
            for output in map(str, node.output):
                if output in scope.outputs:
                    return True
                if output not in seen:
                    seen.add(output)
                    waiting += [n for n in scope.users.get(output, ()) if is_move(scope, n)]
        return False

    def _ends(self, name: str) -> Iterator[tuple[View, Any]]:
        """Yield the views of the outputs of a GRU, each with the node that computes with it."""
        place = self._grus[name][0]
        waiting = [str(output) for output in place.node.output[:1] if output]
        seen = set(waiting)
        while waiting:
            value = waiting.pop()
            view = self._views.view(place.scope, value, 0)
            if view is None:
                continue
            if value in place.scope.outputs:
                yield view, None
            for user in place.scope.users.get(value, ()):
                if user.op_type == "Shape":
                    continue
                made = [output for output in user.output if output]
                views = [self._views.view(place.scope, output, 0) for output in made]
                is_on = user.op_type != "GRU" and all(
                    made is not None and any(held == name for held, _ in made.parts)
                    for made in views
                )
                if not is_on:
                    yield view, user
                    continue
                waiting += [output for output in made if output not in seen]
                seen.update(made)


def _joins(ends: Iterable[tuple[View, Any]]) -> set[tuple[Any, str | None]]:
    """Return how the outputs are joined, by what computes with them; Y of both sides is not."""
    return {(view.parts, view.merge) for view, _ in ends if view.merge or len(view.parts) == 1}
