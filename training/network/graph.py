"""The network as an OpenVINO graph, written operation by operation.

Owns:   the stateful form that GenAI's continuous batching takes: inputs input_ids, attention_mask, position_ids and
        beam_idx, one pair of variables an attention block, ScaledDotProductAttention (which GenAI replaces by paged
        attention), output `logits`.
Knows:  nothing of checkpoints or files: arrays in, graph out.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy
import openvino
from openvino import Model, Node, PartialShape, Type, opset13
from openvino.op.util import Variable, VariableInfo

from training.network.model import Shape

Weights = Mapping[str, numpy.ndarray]


def build_graph(shape: Shape, weights: Weights, *, bits: int) -> Model:
    """Write the graph. `bits` is 8 (one scale for each output row) or 32."""
    return _Builder(shape, weights, bits).build()


def quantize_rows(matrix: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Symmetric int8 with one float32 scale a row. Shapes: (rows, columns) -> the same int8, (rows, 1)."""
    scale = numpy.maximum(numpy.abs(matrix).max(axis=1, keepdims=True) / 127.0, 1e-12).astype(numpy.float32)
    return numpy.clip(numpy.rint(matrix / scale), -127, 127).astype(numpy.int8), scale


@dataclass(frozen=True, slots=True)
class _Attention:
    """One attention of the graph."""

    name: str
    shape: Shape
    number: int
    "Names its variables."
    angles: tuple[Node, Node]
    "cos and sin"


class _Builder:
    def __init__(self, shape: Shape, weights: Weights, bits: int) -> None:
        self.shape, self.weights, self.bits = shape, weights, bits
        self.assigns: list[Node] = []
        self.variables: list[Variable] = []

    def build(self) -> Model:
        parameters = {
            "input_ids": opset13.parameter([-1, -1], Type.i64, "input_ids"),
            "attention_mask": opset13.parameter([-1, -1], Type.i64, "attention_mask"),
            "position_ids": opset13.parameter([-1, -1], Type.i64, "position_ids"),
            "beam_idx": opset13.parameter([-1], Type.i32, "beam_idx"),
        }
        for name, node in parameters.items():
            node.set_friendly_name(name)
            node.output(0).set_names({name})
        inputs: dict[str, Node] = dict(parameters)
        table = self._matrix("table")
        hidden = self._embed(table, self.shape.d_model, inputs)
        angles = self._angles(self.shape, inputs["position_ids"])
        mask = _causal_mask(inputs["input_ids"], inputs["attention_mask"])
        for block in range(self.shape.blocks):
            if self.shape.matching_d_model and block == self.shape.matched_block:
                hidden = opset13.add(hidden, self._match(hidden, mask, inputs))
            if block in self.shape.attention_layers:
                normal = self._normalize(hidden, f"blocks.{block}.attention_norm")
                part = _Attention(f"blocks.{block}.attention", self.shape, block, angles)
                hidden = opset13.add(hidden, self._attend(part, normal, normal, mask, inputs))
            hidden = self._expand(block, hidden)
        hidden = self._normalize(hidden, "norm")
        logits = opset13.matmul(hidden, table, False, True)
        logits.output(0).set_names({"logits"})
        result = opset13.result(logits)
        # OpenVINO's own stubs describe this constructor wrongly.
        return Model([result], self.assigns, list(parameters.values()), self.variables, "hokku")  # pyright: ignore[reportGeneralTypeIssues]

    def _matrix(self, name: str) -> Node:
        matrix = self.weights[name].astype(numpy.float32)
        if self.bits == 32:
            return opset13.constant(matrix)
        values, scale = quantize_rows(matrix)
        return opset13.multiply(opset13.convert(opset13.constant(values), Type.f32), opset13.constant(scale))

    def _product(self, values: Node, name: str) -> Node:
        return opset13.matmul(values, self._matrix(name), False, True)

    def _normalize(self, values: Node, name: str) -> Node:
        """RMSNorm in the form that OpenVINO fuses."""
        gain = opset13.constant(self.weights[name].astype(numpy.float32))
        square = opset13.power(values, _const(2.0))
        mean = opset13.reduce_mean(square, _const(-1, numpy.int64), True)
        root = opset13.sqrt(opset13.add(mean, _const(1e-6)))
        return opset13.multiply(gain, opset13.multiply(values, opset13.divide(_const(1.0), root)))

    def _embed(self, table: Node, d_model: int, inputs: dict[str, Node]) -> Node:
        hidden = opset13.gather(table, inputs["input_ids"], _const(0, numpy.int64))
        return opset13.multiply(hidden, _const(d_model**0.5))

    def _match(self, hidden: Node, mask: Node, inputs: dict[str, Node]) -> Node:
        """The second stream, and what the first reads where it says."""
        shape = self.shape.second()
        angles = self._angles(shape, inputs["position_ids"])
        second = self._embed(self._matrix("matching.table"), shape.d_model, inputs)
        for index, name in enumerate(("look", "gather")):
            normal = self._normalize(second, f"matching.norms.{index}")
            part = _Attention(f"matching.{name}", shape, self.shape.blocks + index, angles)
            second = opset13.add(second, self._attend(part, normal, normal, mask, inputs))
        normal, read = self._normalize(second, "matching.norms.2"), self._normalize(hidden, "matching.norms.3")
        part = _Attention("matching.choose", shape, self.shape.blocks + 2, angles)
        return self._attend(part, normal, read, mask, inputs)

    def _angles(self, shape: Shape, positions: Node) -> tuple[Node, Node]:
        turns = numpy.array(shape.turns())
        column = opset13.unsqueeze(opset13.convert(positions, Type.f32), _const(-1, numpy.int64))
        angles = opset13.multiply(column, opset13.constant(turns.astype(numpy.float32).reshape(1, 1, -1)))
        angles = opset13.unsqueeze(opset13.concat([angles, angles], -1), _const(1, numpy.int64))
        return opset13.cos(angles), opset13.sin(angles)

    def _rotate(self, values: Node, part: _Attention) -> Node:
        head_dim, (cos, sin) = part.shape.head_dim, part.angles
        axis, step = _ints(3), _ints(1)
        first = opset13.slice(values, _ints(0), _ints(head_dim // 2), step, axis)
        second = opset13.slice(values, _ints(head_dim // 2), _ints(head_dim), step, axis)
        turned = opset13.concat([opset13.multiply(second, _const(-1.0)), first], 3)
        return opset13.add(opset13.multiply(values, cos), opset13.multiply(turned, sin))

    def _attend(self, part: _Attention, chosen: Node, read: Node, mask: Node, inputs: dict[str, Node]) -> Node:
        """Attention that looks where `chosen` says and reads `read`; both are normalized."""
        shape, name = part.shape, part.name

        def split(values: Node, heads: int, gain: str) -> Node:
            cut = opset13.reshape(values, _ints(0, 0, heads, shape.head_dim), True)
            cut = self._normalize(cut, gain) if gain else cut
            return opset13.transpose(cut, _ints(0, 2, 1, 3))

        query = split(self._product(chosen, f"{name}.query.weight"), shape.heads, f"{name}.query_norm")
        key = split(self._product(chosen, f"{name}.key.weight"), shape.kv_heads, f"{name}.key_norm")
        value = split(self._product(read, f"{name}.value.weight"), shape.kv_heads, "")
        query, key = self._rotate(query, part), self._rotate(key, part)
        key = self._remember(part, "key", key, inputs)
        value = self._remember(part, "value", value, inputs)
        repeated = (_repeat(values, shape) for values in (key, value))
        mixed = opset13.scaled_dot_product_attention(query, *repeated, mask)
        mixed = opset13.transpose(mixed, _ints(0, 2, 1, 3))
        mixed = opset13.reshape(mixed, _ints(0, 0, shape.heads * shape.head_dim), True)
        return self._product(mixed, f"{name}.output.weight")

    def _remember(self, part: _Attention, kind: str, values: Node, inputs: dict[str, Node]) -> Node:
        """Past and present along the sequence; the whole is what the variable holds next."""
        heads, head_dim = part.shape.kv_heads, part.shape.head_dim
        info = VariableInfo()
        info.data_shape, info.data_type = PartialShape([-1, heads, -1, head_dim]), Type.f32
        info.variable_id = f"past_key_values.{part.number}.{kind}present.{part.number}.{kind}"
        variable = Variable(info)
        batch = opset13.gather(opset13.shape_of(inputs["input_ids"]), _ints(0), _const(0, numpy.int64))
        empty = opset13.broadcast(_const(0.0), opset13.concat([batch, _ints(heads), _ints(0), _ints(head_dim)], 0))
        past = opset13.read_value(empty, variable)
        past = opset13.gather(past, inputs["beam_idx"], _const(0, numpy.int64))
        whole = opset13.concat([past, values], 2)
        self.variables.append(variable)
        self.assigns.append(opset13.assign(whole, variable))
        return whole

    def _expand(self, block: int, hidden: Node) -> Node:
        name = f"blocks.{block}"
        inner = self._normalize(hidden, f"{name}.inner_norm")
        gate = opset13.swish(self._product(inner, f"{name}.gate.weight"))
        inner = opset13.multiply(gate, self._product(inner, f"{name}.up.weight"))
        return opset13.add(hidden, self._product(inner, f"{name}.down.weight"))


def _const(value: float, kind: type[numpy.generic] = numpy.float32) -> Node:
    return opset13.constant(numpy.array(value, kind))


def _ints(*values: int) -> Node:
    return opset13.constant(numpy.array(values, numpy.int64))


def _repeat(values: Node, shape: Shape) -> Node:
    """Give every query head its key-value head."""
    repeats = shape.heads // shape.kv_heads
    parts = opset13.unsqueeze(values, _const(2, numpy.int64))
    sizes = opset13.shape_of(values)
    target = opset13.concat(
        [_pick(sizes, 0), _ints(shape.kv_heads), _ints(repeats), _pick(sizes, 2), _ints(shape.head_dim)], 0
    )
    parts = opset13.broadcast(parts, target, broadcast_spec="BIDIRECTIONAL")
    return opset13.reshape(parts, _ints(0, shape.heads, -1, shape.head_dim), True)


def _pick(sizes: Node, index: int) -> Node:
    return opset13.gather(sizes, _ints(index), _const(0, numpy.int64))


def _causal_mask(tokens: Node, attention_mask: Node) -> Node:
    """Which keys a query may see; paged attention has its own. Shapes: (1, 1, T, past + T)."""
    length = _pick(opset13.shape_of(tokens), 1)
    total = _pick(opset13.shape_of(attention_mask), 1)
    axis = _const(0, numpy.int64)
    keys = opset13.range(axis, opset13.squeeze(total, axis), _const(1, numpy.int64), output_type="i64")
    queries = opset13.slice(keys, opset13.subtract(total, length), total, _ints(1), _ints(0))
    earlier = opset13.less_equal(opset13.unsqueeze(keys, axis), opset13.unsqueeze(queries, _const(1, numpy.int64)))
    return opset13.unsqueeze(earlier, _ints(0, 1))


def save_graph(model: Model, path: str) -> None:
    """Write the .xml and the .bin beside it, weights as they are; the same graph always gives the same bytes."""
    for index, node in enumerate(model.get_ordered_ops()):
        if node.get_type_name() != "Parameter":
            node.set_friendly_name(f"{node.get_type_name()}_{index}")
    openvino.save_model(model, path, compress_to_fp16=False)
