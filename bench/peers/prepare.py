"""Makes the one ONNX file that every converter and quantiser starts from: static shapes, constants folded, no subgraphs.

Exporters leave batch symbols, padding computed by twenty nodes, and `If` nodes on shapes. With shapes fixed to one
sample, ONNX Runtime's basic optimisations (constant folding, batch-norm into convolution, dead code) leave plain
standard operators, of opset 13 at least. Every peer gets this same graph, so that none is helped or hurt by another's importer; the float
rows of ONNX Runtime still load the untouched original.
"""

from pathlib import Path

import onnx
import onnx.version_converter
import onnxruntime

import datasets
from tasks import Task

OLDEST = 13  # per-channel QuantizeLinear
WEIGHTED = {"Conv", "Gemm", "MatMul", "LSTM", "GRU", "ConvTranspose"}


def fix_shapes(model: onnx.ModelProto, shapes: dict[str, list[int]], constants: dict) -> None:
    given = {tensor.name for tensor in model.graph.initializer} | set(constants)
    inputs = [value for value in model.graph.input if value.name not in given]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    for name, number in constants.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(number, name))
    for value in inputs:
        dims = value.type.tensor_type.shape.dim
        for dim, size in zip(dims, shapes[value.name], strict=True):
            dim.Clear()
            dim.dim_value = size
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    del model.graph.value_info[:]


def inline_ifs(model: onnx.ModelProto, feed: dict) -> None:
    """Replaces every `If` by the branch it takes. With shapes fixed the conditions are constants (they ask for ranks and
    sizes), so one run on a sample tells their values; branches may hold further `If`s, hence the loop."""
    while choices := [node for node in model.graph.node if node.op_type == "If"]:
        asked = onnx.ModelProto()
        asked.CopyFrom(model)
        conditions = sorted({node.input[0] for node in choices})
        asked.graph.output.extend(onnx.helper.make_tensor_value_info(c, onnx.TensorProto.BOOL, None) for c in conditions)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(asked.SerializeToString(), options, providers=["CPUExecutionProvider"])
        value = dict(zip(conditions, session.run(conditions, feed)))
        nodes = []
        for node in model.graph.node:
            nodes += taken_branch(model, node, bool(value[node.input[0]])) if node.op_type == "If" else [node]
        nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del model.graph.node[:]
        model.graph.node.extend(nodes)


def taken_branch(model: onnx.ModelProto, node: onnx.NodeProto, condition: bool) -> list[onnx.NodeProto]:
    name = "then_branch" if condition else "else_branch"
    branch = next(attribute.g for attribute in node.attribute if attribute.name == name)
    model.graph.initializer.extend(branch.initializer)
    ends = [
        onnx.helper.make_node("Identity", [inner.name], [outer], name=f"{node.name}/{outer}")
        for inner, outer in zip(branch.output, node.output)
    ]
    return list(branch.node) + ends


def static_path(task: Task) -> Path:
    """The prepared file; made on first use."""
    target = datasets.WORK / "files" / task.net / "static.onnx"
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    model = onnx.load(datasets.net_path(task.net))
    if model.opset_import[0].version < OLDEST:
        model = onnx.version_converter.convert_version(model, OLDEST)
    fix_shapes(model, task.fixed, task.constants)
    inline_ifs(model, task.static(task.feed(task.keys()[0])))
    fixed = target.with_name("fixed.onnx")
    onnx.save(model, fixed)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath, options.log_severity_level = str(fixed), 3
    session = onnxruntime.InferenceSession(fixed.read_bytes(), options, providers=["CPUExecutionProvider"])
    shapes = {value.name: value.shape for value in session.get_outputs()}
    folded = onnx.load(fixed)
    drop_unused(folded)
    used = {node.domain for node in folded.graph.node}
    for entry in [entry for entry in folded.opset_import if entry.domain not in used]:
        folded.opset_import.remove(entry)
    for value in folded.graph.output:
        del value.type.tensor_type.shape.dim[:]
        for size in shapes[value.name]:
            value.type.tensor_type.shape.dim.add().dim_value = size if isinstance(size, int) else 1
    onnx.save(onnx.shape_inference.infer_shapes(folded), target)
    fixed.unlink()
    return target


def drop_unused(model: onnx.ModelProto) -> None:
    """Removes nodes that lead to no output, initialisers that no node reads and inputs that lead nowhere; names the rest."""
    wanted = {value.name for value in model.graph.output}
    kept = []
    for node in reversed(model.graph.node):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            kept.append(node)
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in reversed(kept)]
    for number, node in enumerate(nodes):
        node.name = node.name or f"{node.op_type}_{number}"
    for field, items in (
        (model.graph.node, nodes),
        (model.graph.initializer, [tensor for tensor in model.graph.initializer if tensor.name in wanted]),
        (model.graph.input, [value for value in model.graph.input if value.name in wanted]),
    ):
        del field[:]
        field.extend(items)


def kept_float(task: Task, model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """The nodes that quantisers are told to leave alone: those that no weighted node follows (decoding of boxes, softmax),
    and the front end that the task names."""
    leads = set()
    tail = []
    for node in reversed(model.graph.node):
        if leads.intersection(node.output) or node.op_type in WEIGHTED:
            leads.update(node.input)
        else:
            tail.append(node)
    kinds = [node.op_type for node in model.graph.node]
    head = kinds.index(task.float_until) + 1 if task.float_until else 0
    return list(model.graph.node[:head]) + tail
