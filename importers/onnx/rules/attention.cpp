// ONNX's own Attention and RotaryEmbedding (opset 23).
#include "importers/onnx/node_context.h"

namespace pith::importers {
namespace {

using ir::Op;
using ir::ValueId;

Result<void> attention(NodeContext& n) {
  n.ignore({"softmax_precision"});
  if (n.has_input(6)) return unsupported("lengths of padded keys (nonpad_kv_seqlen) aren't supported; give a mask instead");
  PITH_TRY(std::vector<ValueId> operands, n.all_inputs());
  Attributes a = n.copy("is_causal:i q_num_heads:i kv_num_heads:i scale:f softcap:f qk_matmul_output_mode:i");
  return n.emit_wanted(Op::kAttention, std::move(operands), std::move(a), 4);
}

}  // namespace

void add_attention_rules(Rules& r) {
  r["Attention"] = {attention};
  r["RotaryEmbedding"] = {nullptr, Op::kRotaryEmbedding, "interleaved:i num_heads:i rotary_embedding_dim:i"};
}

}  // namespace pith::importers
