// Fusion: the order of the passes.
//
// Exporters write whole operators as many small ones, and each small one would cost a pass over memory and a rounding in
// integer form. The passes below recognise those decompositions (and nothing that merely looks alike: constants, axes and
// shapes are checked), in rounds, because one pass makes another's pattern visible. Activations are absorbed last, so that
// patterns never have to look through them.
#include "importers/onnx/fuse.h"

#include <fmt/format.h>

#include "base/log.h"
#include "importers/onnx/rewriter.h"

namespace pith::importers {
namespace {

struct Pass {
  const char* name;
  int (*run)(ir::Graph&);
};

constexpr Pass kRounds[] = {
    {"simplify", simplify},
    {"fold constants", fold_constants},
    {"share common", share_common},
    {"strip quantization", strip_quantization},
    {"activation forms", fuse_activation_forms},
    {"normalization", fuse_normalization},
    {"einsum", fuse_einsum},
    {"rotary", fuse_rotary},
    {"attention", fuse_attention},
    {"shuffle", fuse_shuffle},
    {"linear", fuse_linear},
    {"padding", fuse_padding},
};
constexpr Pass kLast[] = {
    {"flatten transposes", flatten_transposes},
    {"simplify", simplify},
    {"fold constants", fold_constants},
    {"share common", share_common},
    {"absorb activations", absorb_activations},
};
constexpr int kMostRounds = 12;

Result<int> run(const Pass& pass, ir::Graph& graph) {
  const int changes = pass.run(graph);
  if (changes > 0) log_verbose(fmt::format("  fusion '{}': {} changes", pass.name, changes));
  if (changes > 0) {
    const Result<void> sound = ir::verify(graph);
    if (!sound.ok()) return internal_error(fmt::format("fusion pass '{}' broke the graph: {}; import with fusion off and report this",
                                                       pass.name, sound.error().message));
  }
  return changes;
}

}  // namespace

Result<void> fuse(ir::Graph& graph) {
  for (int round = 0; round < kMostRounds; ++round) {
    int changes = 0;
    for (const Pass& pass : kRounds) {
      PITH_TRY(const int n, run(pass, graph));
      changes += n;
    }
    if (changes == 0) break;
  }
  for (const Pass& pass : kLast) {
    PITH_TRY(const int n, run(pass, graph));
    (void)n;
  }
  return {};
}

}  // namespace pith::importers
