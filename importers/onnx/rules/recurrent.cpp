// LSTM, GRU, RNN.
#include <algorithm>

#include "importers/onnx/node_context.h"

namespace pith::importers {
namespace {

using ir::Op;
using ir::ValueId;

// Constant sequence lengths that are all the whole length say nothing.
bool whole_length(const NodeContext& n, ValueId x, int64_t layout) {
  const ir::Tensor* lengths = n.content(4);
  if (!lengths || n.builder.rank(x) != 3) return false;
  const int64_t whole = n.builder.shape(x)[layout == 0 ? 0 : 1];
  for (int64_t i = 0; i < lengths->count(); ++i)
    if (static_cast<int64_t>(lengths->at(i)) != whole) return false;
  return true;
}

template <Op op>
Result<void> recurrent(NodeContext& n) {
  n.ignore({"output_sequence"});
  PITH_TRY(std::vector<ValueId> operands, n.all_inputs());
  PITH_TRY(const ValueId x, n.input(0));
  Attributes a = n.copy("activation_alpha:F activation_beta:F clip:f direction:s hidden_size:i layout:i");
  if (op == Op::kLSTM) a.merge(n.copy("input_forget:i"));
  if (op == Op::kGRU) a.merge(n.copy("linear_before_reset:i"));
  std::string functions;
  for (const std::string& f : n.texts("activations")) functions += (functions.empty() ? "" : ",") + f;
  if (!functions.empty()) a["activations"] = functions;
  if (operands.size() > 4 && whole_length(n, x, n.integer("layout", 0))) operands[4] = ir::kNoValue;
  return n.emit_wanted(op, std::move(operands), std::move(a), op == Op::kLSTM ? 3 : 2);
}

}  // namespace

void add_recurrent_rules(Rules& r) {
  r["LSTM"] = {recurrent<Op::kLSTM>};
  r["GRU"] = {recurrent<Op::kGRU>};
  r["RNN"] = {recurrent<Op::kRNN>};
}

}  // namespace pith::importers
