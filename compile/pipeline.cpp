// The compiler's table of contents.
#include "compile/code_cache.h"
#include "compile/code_rows.h"
#include "compile/compile.h"
#include "compile/order.h"
#include "compile/remake.h"
#include "compile/stream.h"

namespace pith {

Result<Program> compile(const ir::Graph& graph, const CompileOptions& options, MemoryReport* report) {
  PITH_TRY(Program program, lower_graph(graph));
  return place(std::move(program), options, report);
}

Result<Program> lower_graph(const ir::Graph& source) {
  ir::Graph graph = source;

  // The graph is what its author promises; nothing below looks at its soundness again.
  PITH_CHECK_OK(ir::verify(graph));

  // Fewer forms of the same thing: Gemm without factors, normalisation as convolution, no dead nodes.
  PITH_CHECK_OK(ir::canonicalize(graph));
  PITH_CHECK_OK(ir::verify(graph));

  // Machine operators on physical layouts. From here on, shapes are final; order and offsets are not.
  return lower(graph);
}

Result<Program> place(Program program, const CompileOptions& options, MemoryReport* report) {
  // What attention remembers from token to token, in coded form.
  if (options.cache_bits > 0) PITH_CHECK_OK(code_cache(program, options));

  // Branches run in the order in which least is alive at once, where that isn't the author's.
  const bool limited = options.ram > 0 || options.least;
  if (!limited) {
    const Order order = best_order(program);
    if (order.peak < given_order(program).peak) apply_order(program, order);
  }

  // To see what coded activations cost: all of them, whether that saves memory or not.
  std::vector<CodedActivation> coded;
  if (options.coding.wanted() && options.coding.all) {
    const std::vector<CodedTensor> tensors = all_coded(program, options.coding);
    coded = describe_coded(program, tensors);
    program = code_rows(program, tensors);
  }

  // Every tensor and scratch region gets its place in the arena; under a limit, layers run in bands of rows to fit it, and
  // what waits at the peak may be stored in coded form, or made again where multiplications are allowed for that.
  if (limited && options.coding.wanted() && !options.coding.all)
    PITH_CHECK_OK(fit_coded(program, options, report));
  else if (limited && options.macs_overhead > 0)
    PITH_CHECK_OK(fit_remade(program, options, report));
  else if (limited)
    PITH_CHECK_OK(fit_ram(program, options, report));
  else
    PITH_CHECK_OK(plan_arena(program, options, report));
  if (report && options.coding.all) report->coded = std::move(coded);

  // What executes is what was checked.
  PITH_CHECK_OK(check_program(program));
  return program;
}

}  // namespace pith
