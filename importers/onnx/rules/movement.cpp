// Operators that move data: reshaping (all forms become Reshape), transposing, cutting, joining, padding. What they do is
// fixed at import: shapes, axes and pads that ONNX passes as inputs (or, in older opsets, as attributes) must be constant.
#include <fmt/format.h>

#include <algorithm>

#include "importers/onnx/node_context.h"

namespace pith::importers {
namespace {

using ir::Op;
using ir::Shape;
using ir::ValueId;
using Integers = std::vector<int64_t>;

// From an attribute in opsets before `input_since`, otherwise from input `i`; nothing when absent.
Result<std::optional<Integers>> parameter(NodeContext& n, const char* name, size_t i, int64_t input_since) {
  if (n.opset < input_since) return n.has(name) ? std::optional(n.integers(name)) : std::nullopt;
  if (!n.has_input(i)) return std::optional<Integers>();
  PITH_TRY(Integers v, n.constant_integers(i, name));
  return std::optional(std::move(v));
}

Error bad_axis(int64_t axis, int64_t rank) {
  return usage_error(fmt::format("axis {} is outside its input's {} dimensions; export the model again", axis, rank));
}

Result<void> set_reshaped(NodeContext& n, ValueId x, const Shape& shape) {
  PITH_TRY(const ValueId y, n.builder.reshape(x, shape));
  n.set(0, y, n.element_type(0));
  return {};
}

// 0 copies the input's dimension (unless allowzero), one -1 takes what is left.
Result<void> reshape(NodeContext& n) {
  PITH_TRY(const ValueId x, n.input(0));
  PITH_TRY(const auto target, parameter(n, "shape", 1, 5));
  if (!target) return usage_error("it has no target shape; export the model again");
  const bool allow_zero = n.integer("allowzero", 0) != 0;
  const Shape from = n.builder.shape(x);
  Shape shape = *target;
  const int64_t count = ir::element_count(from);
  int64_t known = 1;
  size_t open = shape.size();
  for (size_t d = 0; d < shape.size(); ++d) {
    if (shape[d] == 0 && !allow_zero && d < from.size()) shape[d] = from[d];
    const bool second_open = shape[d] == -1 && open != shape.size();
    if (shape[d] < -1 || second_open || (shape[d] > 0 && known > count / shape[d] && count != 0))
      return usage_error(fmt::format("its target shape doesn't fit its input {}; export with other input sizes", ir::to_string(from)));
    if (shape[d] == -1) open = d;
    else known *= count == 0 ? std::min<int64_t>(shape[d], 1) : shape[d];
  }
  if (open != shape.size()) shape[open] = known == 0 ? 0 : count / known;
  return set_reshaped(n, x, shape);
}

Result<void> flatten(NodeContext& n) {
  PITH_TRY(const ValueId x, n.input(0));
  const Shape shape = n.builder.shape(x);
  const int64_t rank = n.builder.rank(x);
  int64_t axis = n.integer("axis", 1);
  if (axis < 0) axis += rank;
  if (axis < 0 || axis > rank) return bad_axis(axis, rank);
  Shape matrix{1, 1};
  for (int64_t d = 0; d < rank; ++d) matrix[d < axis ? 0 : 1] *= shape[static_cast<size_t>(d)];
  return set_reshaped(n, x, matrix);
}

Result<void> squeeze(NodeContext& n) {
  PITH_TRY(const ValueId x, n.input(0));
  PITH_TRY(const auto axes, parameter(n, "axes", 1, 13));
  const Shape from = n.builder.shape(x);
  const int64_t rank = n.builder.rank(x);
  std::vector<bool> drop(from.size(), false);
  for (size_t d = 0; !axes && d < from.size(); ++d) drop[d] = from[d] == 1;
  for (const int64_t axis : axes.value_or(Integers())) {
    if (axis < -rank || axis >= rank) return bad_axis(axis, rank);
    const size_t d = static_cast<size_t>(axis < 0 ? axis + rank : axis);
    if (from[d] != 1) return usage_error(fmt::format("it drops dimension {} of {}, which isn't 1; export with other input sizes", d, ir::to_string(from)));
    drop[d] = true;
  }
  Shape shape;
  for (size_t d = 0; d < from.size(); ++d)
    if (!drop[d]) shape.push_back(from[d]);
  return set_reshaped(n, x, shape);
}

Result<void> unsqueeze(NodeContext& n) {
  PITH_TRY(const ValueId x, n.input(0));
  PITH_TRY(const auto axes, parameter(n, "axes", 1, 13));
  if (!axes) return usage_error("it has no axes; export the model again");
  const Shape from = n.builder.shape(x);
  const size_t rank = from.size() + axes->size();
  if (rank > 64) return unsupported("it makes more than 64 dimensions; simplify the model");
  std::vector<bool> inserted(rank, false);
  for (const int64_t axis : *axes) {
    const int64_t d = axis < 0 ? axis + static_cast<int64_t>(rank) : axis;
    if (d < 0 || d >= static_cast<int64_t>(rank) || inserted[static_cast<size_t>(d)]) return bad_axis(axis, static_cast<int64_t>(rank));
    inserted[static_cast<size_t>(d)] = true;
  }
  Shape shape;
  auto next = from.begin();
  for (size_t d = 0; d < rank; ++d) shape.push_back(inserted[d] ? 1 : *next++);
  return set_reshaped(n, x, shape);
}

Result<void> concat(NodeContext& n) {
  PITH_TRY(std::vector<ValueId> operands, n.all_inputs());
  return n.emit(Op::kConcat, std::move(operands), {{"axis", n.integer("axis", 1)}});
}

// Sizes are made explicit; equal parts with a smaller last one when none are given.
Result<void> split(NodeContext& n) {
  PITH_TRY(const ValueId x, n.input(0));
  const int64_t rank = n.builder.rank(x);
  int64_t axis = n.integer("axis", 0);
  if (axis < -rank || axis >= rank) return bad_axis(axis, rank);
  if (axis < 0) axis += rank;
  const int64_t parts = static_cast<int64_t>(n.node.outputs.size());
  if (n.integer("num_outputs", parts) != parts) return usage_error("num_outputs isn't its number of outputs; export the model again");
  PITH_TRY(auto sizes, parameter(n, "split", 1, 13));
  const int64_t whole = n.builder.shape(x)[static_cast<size_t>(axis)];
  if (!sizes) {
    if (parts == 0 || (n.opset < 18 && whole % parts != 0))
      return usage_error(fmt::format("{} can't be split into {} equal parts; export with other input sizes", whole, parts));
    const int64_t each = (whole + parts - 1) / parts;
    sizes.emplace();
    for (int64_t i = 0; i < parts; ++i) sizes->push_back(std::clamp<int64_t>(whole - i * each, 0, each));
  }
  if (static_cast<int64_t>(sizes->size()) != parts) return usage_error("it has more sizes than outputs or fewer; export the model again");
  return n.emit_all(Op::kSplit, {x}, {{"axis", axis}, {"split", *sizes}}, n.node.outputs.size());
}

Result<void> slice(NodeContext& n) {
  PITH_TRY(const ValueId x, n.input(0));
  Attributes attributes;
  const char* names[] = {"starts", "ends", "axes", "steps"};
  for (size_t i = 0; i < 4; ++i) {
    if (n.opset < 10 && i == 3) break;
    PITH_TRY(const auto v, parameter(n, names[i], i + 1, 10));
    if (v) attributes[names[i]] = *v;
    if (!v && i < 2) return usage_error(fmt::format("it has no {}; export the model again", names[i]));
  }
  return n.emit(Op::kSlice, {x}, std::move(attributes));
}

Result<void> pad(NodeContext& n) {
  PITH_TRY(const ValueId x, n.input(0));
  PITH_TRY(const auto pads, parameter(n, n.opset < 2 ? "paddings" : "pads", 1, 11));
  if (!pads) return usage_error("it has no pads; export the model again");
  Attributes attributes = n.copy("mode:s");
  attributes["pads"] = *pads;
  if (n.opset < 11) attributes.merge(n.copy("value:f"));
  if (n.opset >= 11 && n.has_input(2) && (!n.content(2) || n.content(2)->count() > 0)) {
    PITH_TRY(attributes["value"], n.constant_real(2, "constant_value"));
  }
  if (n.has_input(3)) {
    PITH_TRY(attributes["axes"], n.constant_integers(3, "axes"));
  }
  return n.emit(Op::kPad, {x}, std::move(attributes));
}

Result<void> expand(NodeContext& n) {
  PITH_TRY(const ValueId x, n.input(0));
  PITH_TRY(const Integers shape, n.constant_integers(1, "shape"));
  return n.emit(Op::kExpand, {x}, {{"shape", shape}});
}

Result<void> tile(NodeContext& n) {
  PITH_TRY(const ValueId x, n.input(0));
  if (n.opset >= 6) {
    PITH_TRY(const Integers repeats, n.constant_integers(1, "repeats"));
    return n.emit(Op::kTile, {x}, {{"repeats", repeats}});
  }
  PITH_TRY(const int64_t tiles, n.constant_integer(1, "tiles"));
  PITH_TRY(const int64_t axis, n.constant_integer(2, "axis"));
  Integers repeats(static_cast<size_t>(n.builder.rank(x)), 1);
  if (axis < 0 || axis >= n.builder.rank(x)) return bad_axis(axis, n.builder.rank(x));
  repeats[static_cast<size_t>(axis)] = tiles;
  return n.emit(Op::kTile, {x}, {{"repeats", repeats}});
}

// Opset 28's mode CRD: the block's position is the inner part of the channel.
Result<void> space_to_depth(NodeContext& n) {
  PITH_TRY(const ValueId x, n.input(0));
  const Shape s = n.builder.shape(x);
  const int64_t block = n.integer("blocksize", 0);
  if (n.text("mode", "DCR") != "CRD") return n.emit(Op::kSpaceToDepth, {x}, {{"blocksize", block}});
  if (s.size() != 4 || block < 1 || s[2] % block != 0 || s[3] % block != 0)
    return usage_error(fmt::format("its input {} doesn't split into blocks of {}; export with other input sizes", ir::to_string(s), block));
  const int64_t high = s[2] / block, wide = s[3] / block;
  PITH_TRY(const ValueId parts, n.builder.reshape(x, {s[0], s[1], high, block, wide, block}));
  PITH_TRY(const ValueId moved, n.builder.add(Op::kTranspose, {parts}, {{"perm", Integers{0, 1, 3, 5, 2, 4}}}));
  PITH_TRY(const ValueId y, n.builder.reshape(moved, {s[0], s[1] * block * block, high, wide}));
  n.set(0, y);
  return {};
}

}  // namespace

void add_movement_rules(Rules& r) {
  r["Reshape"] = {reshape};
  r["Flatten"] = {flatten};
  r["Squeeze"] = {squeeze};
  r["Unsqueeze"] = {unsqueeze};
  r["Transpose"] = {nullptr, Op::kTranspose, "perm:I"};
  r["Concat"] = {concat};
  r["Split"] = {split};
  r["Slice"] = {slice};
  r["Pad"] = {pad};
  r["Expand"] = {expand};
  r["Tile"] = {tile};
  r["DepthToSpace"] = {nullptr, Op::kDepthToSpace, "blocksize:i mode:s"};
  r["SpaceToDepth"] = {space_to_depth};
}

}  // namespace pith::importers
