"""Signatures in the API pages as the source has them: ``Net``, not the types that it stands for."""

import ast
import dataclasses
import inspect
import sys
import textwrap
import typing

import jaxgru
import jaxgru.finetune
import jaxgru.model
import jaxgru.streaming

# Names of types in the source, as full names, by which Sphinx finds their entries.
_FULL = {
    name: f"{module.__name__}.{name}"
    for module in (jaxgru.finetune, jaxgru.model, jaxgru)
    for name in module.__all__
} | {
    "ActivationName": "str",
    "ActivationLike": "str | jaxgru.Activation",
    "Array": "jax.Array",
    "ArrayLike": "jax.typing.ArrayLike",
    "Chunk": "jaxgru.streaming.Chunk",
    "DTypeLike": "jax.typing.DTypeLike",
    "Equations": "Literal['keras', 'notebook']",
    "Inputs": "jaxgru.streaming.Inputs",
    "NDArray": "numpy.ndarray",
    "FamilyName": "str",
    "Implementation": "Literal['auto', 'scan', 'native']",
    "Merge": "Literal['concat', 'sum', 'mul', 'ave'] | None",
    "Mesh": "jax.sharding.Mesh",
    "On": "Literal['steps', 'last']",
    "OnRound": "Callable[[jaxgru.finetune.Round], str | None]",
    "Precision": "jax.lax.PrecisionLike",
    "Remat": "int | Literal['states'] | None",
    "Row": "dict[str, Any]",
    "StrPath": "str | os.PathLike[str]",
    "Window": "jaxgru.streaming.Window",
    "_Shape": "tuple[str | int, ...]",
    "chain": "jaxgru.model",
    "np": "numpy",
}


def written_signature(app, what, name, obj, *_):
    """Return the arguments and the result of a function, or the fields of a dataclass.

    A hook of autodoc, ``autodoc-process-signature``.
    """
    if what == "class" and "__init__" in vars(obj) and not dataclasses.is_dataclass(obj):
        return written_signature(app, "method", name, obj.__init__)[0], None
    if what == "class" and (dataclasses.is_dataclass(obj) or hasattr(obj, "_fields")):
        fields = [
            field
            for kind in reversed(inspect.getmro(obj))
            if dataclasses.is_dataclass(kind) or hasattr(kind, "_fields")
            for field in _definition(kind).body
            if isinstance(field, ast.AnnAssign)
        ]
        return f"({', '.join(map(ast.unparse, fields))})", None
    if what not in ("function", "method"):
        return None
    function = _definition(inspect.unwrap(obj))
    if what == "method":
        del (function.args.posonlyargs or function.args.args)[0]
    # Each result of an overloaded function.
    kinds = typing.get_overloads(inspect.unwrap(obj)) if what == "function" else ()
    results = [_definition(kind).returns for kind in kinds] or [function.returns]
    returns = " | ".join(dict.fromkeys(ast.unparse(result) for result in results if result))
    return f"({ast.unparse(function.args)})", returns or None


def _definition(obj):
    if not inspect.isclass(obj):
        tree = ast.parse(textwrap.dedent(inspect.getsource(obj)))
        return _WithFullNames().visit(tree).body[0]
    # The module of a public class is the public one, not that of its source.
    for module in [sys.modules[obj.__module__], *sys.modules.values()]:
        if vars(module).get(obj.__name__) is obj:
            for node in ast.parse(inspect.getsource(module)).body:
                if isinstance(node, ast.ClassDef) and node.name == obj.__name__:
                    return _WithFullNames().visit(node)
    raise LookupError(f"no source of {obj}")


class _WithFullNames(ast.NodeTransformer):
    def visit_arg(self, node):
        return self._annotated(node)

    def visit_AnnAssign(self, node):
        return self._annotated(node)

    def visit_FunctionDef(self, node):
        node.args = self.visit(node.args)
        node.returns = node.returns and _Full().visit(node.returns)
        return node

    def _annotated(self, node):
        node.annotation = node.annotation and _Full().visit(node.annotation)
        return node


class _Full(ast.NodeTransformer):
    def visit_Name(self, node):
        full = _FULL.get(node.id)
        return ast.parse(full, mode="eval").body if full else node

    def visit_Constant(self, node):
        if isinstance(node.value, str) and node.value.isidentifier() and node.value in _FULL:
            return self.visit_Name(ast.Name(node.value))
        return node
