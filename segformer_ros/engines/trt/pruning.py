"""Pruning: what the one output that is read does not need leaves the graph."""

from __future__ import annotations

from typing import Any, List, Set


def keep_output(graph: Any, name: str) -> None:
    """Leave an ONNX graph this output alone, and the nodes and constants that it is made from.

    A graph without an output of this name stays as it is.
    """
    kept = [value for value in graph.output if value.name == name]
    if not kept:
        return
    del graph.output[:]
    graph.output.extend(kept)
    drop_unused(graph)


def drop_unused(graph: Any) -> None:
    """Remove the nodes and constants that no output of an ONNX graph is made from."""
    needed = {value.name for value in graph.output}
    nodes: List[Any] = []
    for node in reversed(graph.node):  # they are in the order of their use
        if needed.intersection(node.output):
            nodes.append(node)
            needed |= _read_by(node)
    del graph.node[:]
    graph.node.extend(reversed(nodes))
    for tensor in [one for one in graph.initializer if one.name not in needed]:
        graph.initializer.remove(tensor)


def _read_by(node: Any) -> Set[str]:
    """Tensors that a node reads, those that the graphs inside it take from outside among them."""
    names = set(node.input)
    for attribute in node.attribute:
        for inner in [*attribute.graphs, attribute.g]:
            names |= {value.name for value in inner.output}
            for part in inner.node:
                names |= _read_by(part)
    return names
