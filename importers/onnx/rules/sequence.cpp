// Sequences and optionals. Their structure is known at import, so a sequence is a list of values and none of these
// operators reaches the graph.
#include <fmt/format.h>

#include <algorithm>

#include "importers/onnx/node_context.h"

namespace pith::importers {
namespace {

using ir::Op;
using ir::Shape;
using ir::Tensor;
using ir::ValueId;
using Items = std::vector<ValueId>;

void set_sequence(NodeContext& n, Items items) {
  Operand o;
  o.kind = Operand::Kind::kSequence;
  o.items = std::make_shared<const Items>(std::move(items));
  n.set(0, std::move(o));
}

Result<Items> sequence(const NodeContext& n, size_t i) {
  if (!n.has_input(i) || n.inputs[i].kind != Operand::Kind::kSequence)
    return usage_error(fmt::format("input {} isn't a sequence; export the model again", i));
  return *n.inputs[i].items;
}

// A position in a sequence; negative ones count from the end.
Result<size_t> position(const NodeContext& n, size_t i, size_t length) {
  PITH_TRY(int64_t at, n.constant_integer(i, "position"));
  if (at < 0) at += static_cast<int64_t>(length);
  if (at < 0 || at > static_cast<int64_t>(length)) return usage_error(fmt::format("position {} is outside its sequence; export the model again", at));
  return static_cast<size_t>(at);
}

Result<void> construct(NodeContext& n) {
  PITH_TRY(Items items, n.all_inputs());
  set_sequence(n, std::move(items));
  return {};
}

Result<void> empty(NodeContext& n) {
  n.ignore({"dtype"});
  set_sequence(n, {});
  return {};
}

Result<void> insert(NodeContext& n) {
  PITH_TRY(Items items, sequence(n, 0));
  PITH_TRY(const ValueId item, n.input(1));
  size_t at = items.size();
  if (n.has_input(2)) {
    PITH_TRY(at, position(n, 2, items.size()));
  }
  items.insert(items.begin() + static_cast<long>(at), item);
  set_sequence(n, std::move(items));
  return {};
}

Result<void> erase(NodeContext& n) {
  PITH_TRY(Items items, sequence(n, 0));
  if (items.empty()) return usage_error("it erases from an empty sequence; export the model again");
  size_t at = items.size() - 1;
  if (n.has_input(1)) {
    PITH_TRY(at, position(n, 1, items.size()));
  }
  if (at >= items.size()) return usage_error("it erases beyond its sequence; export the model again");
  items.erase(items.begin() + static_cast<long>(at));
  set_sequence(n, std::move(items));
  return {};
}

Result<void> at(NodeContext& n) {
  PITH_TRY(const Items items, sequence(n, 0));
  PITH_TRY(const size_t i, position(n, 1, items.size()));
  if (i >= items.size()) return usage_error("it reads beyond its sequence; export the model again");
  n.set(0, items[i]);
  return {};
}

Result<void> length(NodeContext& n) {
  PITH_TRY(const Items items, sequence(n, 0));
  n.set(0, n.builder.constant(Tensor::i64({}, {static_cast<int64_t>(items.size())})), kInt64);
  return {};
}

Result<void> split_to_sequence(NodeContext& n) {
  PITH_TRY(const ValueId x, n.input(0));
  const int64_t rank = n.builder.rank(x);
  const int64_t stated = n.integer("axis", 0), axis = stated < 0 ? stated + rank : stated;
  const bool keep = n.integer("keepdims", 1) != 0 || n.has_input(1);
  if (axis < 0 || axis >= rank) return usage_error(fmt::format("axis {} is out of range; export the model again", stated));
  const int64_t whole = n.builder.shape(x)[static_cast<size_t>(axis)];
  std::vector<int64_t> sizes;
  int64_t each = 1;
  if (n.has_input(1)) {
    PITH_TRY(sizes, n.constant_integers(1, "split"));
    each = n.content(1)->shape().empty() ? sizes[0] : 0;
  }
  if (each != 0) {
    if (each < 0 || whole / each > 100'000) return usage_error("its sizes are out of range; export the model again");
    sizes.clear();
    for (int64_t done = 0; done < whole; done += each) sizes.push_back(std::min(each, whole - done));
  }
  if (sizes.empty()) return empty(n);
  PITH_TRY(Items items, n.builder.add_many(Op::kSplit, {x}, {{"axis", axis}, {"split", sizes}}, std::vector<bool>(sizes.size(), true)));
  for (ValueId& item : items) {
    if (keep) continue;
    Shape shape = n.builder.shape(item);
    shape.erase(shape.begin() + axis);
    PITH_TRY(item, n.builder.reshape(item, shape));
  }
  set_sequence(n, std::move(items));
  return {};
}

Result<void> concat_from_sequence(NodeContext& n) {
  PITH_TRY(Items items, sequence(n, 0));
  if (items.empty()) return usage_error("it joins an empty sequence; export the model again");
  int64_t axis = n.integer("axis", 0);
  if (n.integer("new_axis", 0) != 0) {
    const int64_t rank = n.builder.rank(items[0]) + 1;
    if (axis < -rank || axis >= rank) return usage_error(fmt::format("axis {} is out of range; export the model again", axis));
    if (axis < 0) axis += rank;
    for (ValueId& item : items) {
      Shape shape = n.builder.shape(item);
      if (static_cast<int64_t>(shape.size()) + 1 != rank) return usage_error("its sequence mixes ranks; export the model again");
      shape.insert(shape.begin() + axis, 1);
      PITH_TRY(item, n.builder.reshape(item, shape));
    }
  }
  return n.emit(Op::kConcat, std::move(items), {{"axis", axis}});
}

Result<void> optional_value(NodeContext& n) {
  if (!n.has_input(0)) return unsupported("an optional without a value isn't supported; export without it");
  n.set(0, n.inputs[0]);
  return {};
}

Result<void> has_element(NodeContext& n) {
  n.set(0, n.builder.constant(Tensor::of<uint8_t>(ir::DType::kBool, {}, {n.has_input(0) ? uint8_t{1} : uint8_t{0}})), kBool);
  return {};
}

}  // namespace

void add_sequence_rules(Rules& r) {
  r["SequenceConstruct"] = {construct};
  r["SequenceEmpty"] = {empty};
  r["SequenceInsert"] = {insert};
  r["SequenceErase"] = {erase};
  r["SequenceAt"] = {at};
  r["SequenceLength"] = {length};
  r["SplitToSequence"] = {split_to_sequence};
  r["ConcatFromSequence"] = {concat_from_sequence};
  r["Optional"] = {optional_value};
  r["OptionalGetElement"] = {optional_value};
  r["OptionalHasElement"] = {has_element};
}

}  // namespace pith::importers
