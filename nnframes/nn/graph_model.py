"""Graph models: layers wired by calling them on nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nnframes.errors import ArgumentError
from nnframes.nn.containers import distinct
from nnframes.nn.layer import Layer
from nnframes.nn.node import Node
from nnframes.nn.trace import Table, Trace

__all__ = ["Model"]


class Model(Layer):
    """A network from `inputs` to `outputs`, each a node or a list of nodes; a layer may stand at several nodes.

    A list of several inputs takes a table, several outputs give one. Raises `ArgumentError` for an output that needs an
    input which is not listed.

    >>> from nnframes.nn import CAddTable, Input, Linear
    >>> x = Input((784,))
    >>> Model(x, CAddTable()([Linear(784, 10)(x), Linear(784, 10)(x)])).output_shape((32, 784))
    (32, 10)
    """

    takes = "any"

    def __init__(self, inputs: Node | Sequence[Node], outputs: Node | Sequence[Node]) -> None:
        first, last = _nodes("inputs", inputs), _nodes("outputs", outputs)
        nodes = _in_order(first, last)
        number = {node: i for i, node in enumerate(nodes)}
        self.nodes = nodes
        # Numbers of nodes rather than nodes: what a config can hold, and what a rebuilt model is made from.
        self.inputs: Any = [number[node] for node in first]
        self.outputs: Any = [number[node] for node in last]
        self._layers = list(dict.fromkeys(node.layer for node in nodes if node.layer is not None))

    @property
    def layers(self) -> list[Layer]:
        """The layers in the order they run, one that stands at several nodes once."""
        return list(self._layers)

    @property
    def input_shape(self) -> Any:
        """The shape of one row, or a list of shapes, as `Input` was told; None when it was not."""
        shapes = [self.nodes[i].shape for i in self.inputs]
        return None if None in shapes else shapes if len(shapes) > 1 else shapes[0]

    def call(self, t: Trace, x: Table) -> Table:
        parts = x if isinstance(x, list) else [x]
        t.expect(len(parts) == len(self.inputs), f"{len(self.inputs)} inputs", x)
        found: dict[Node, Table] = {}
        for number, part in zip(self.inputs, parts, strict=True):
            node = self.nodes[number]
            shape = getattr(part, "shape", None)
            wanted = f"(batch, {', '.join(map(str, node.shape))})" if node.shape is not None else ""
            t.expect(node.shape is None or (shape is not None and shape[1:] == node.shape), wanted, part)
            found[node] = part
        for node in self.nodes:
            if node.layer is not None:
                inputs = [found[one] for one in node.inputs]
                found[node] = t.run(node.layer, inputs[0] if len(inputs) == 1 else inputs)
        outputs = [found[self.nodes[number]] for number in self.outputs]
        return outputs[0] if len(outputs) == 1 else outputs

    def structure(self) -> dict[str, Any]:
        layers, order = distinct([node.layer for node in self.nodes if node.layer is not None])
        places, number = iter(order), {node: i for i, node in enumerate(self.nodes)}
        nodes = [
            {"layer": None if node.layer is None else next(places), "inputs": [number[one] for one in node.inputs]}
            | ({"shape": node.shape} if node.shape is not None else {})
            | ({"name": node.name} if node.name else {})
            for node in self.nodes
        ]
        return {"layers": layers, "nodes": nodes}

    @classmethod
    def from_structure(cls, args: dict[str, Any], state: dict[str, Any]) -> Model:
        nodes: list[Node] = []
        for one in state["nodes"]:
            layer = None if one["layer"] is None else state["layers"][one["layer"]]
            nodes.append(Node(layer, tuple(nodes[i] for i in one["inputs"]), one.get("shape"), one.get("name")))
        return cls([nodes[i] for i in args["inputs"]], [nodes[i] for i in args["outputs"]])


def _nodes(name: str, given: Node | Sequence[Node]) -> list[Node]:
    nodes: list[Any] = list(given) if isinstance(given, (list, tuple)) else [given]
    if not nodes or not all(isinstance(node, Node) for node in nodes):
        received = [type(node).__name__ for node in nodes]
        raise ArgumentError(f"Model {name} must be nodes: Input() or a layer called on nodes. Received: {received}.")
    if name == "inputs" and (any(node.layer for node in nodes) or len(set(nodes)) < len(nodes)):
        raise ArgumentError("Model inputs must be different nodes made by Input().")
    return nodes


def _in_order(inputs: list[Node], outputs: list[Node]) -> list[Node]:
    """The inputs, then every node that the outputs need, each after those it takes."""
    done = dict.fromkeys(inputs)
    stack = list(reversed(outputs))
    while stack:
        node = stack[-1]
        waiting = [one for one in reversed(node.inputs) if one not in done]
        if waiting:
            stack += waiting
            continue
        stack.pop()
        if node not in done:
            if node.layer is None:
                label = node.name or "one that has no name"
                raise ArgumentError(f"Model inputs must list every Input that the outputs need. Missing: {label}.")
            done[node] = None
    return list(done)
