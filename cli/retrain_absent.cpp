// Retraining and TorchScript in the program without libtorch: handed over to `pith-retrain` beside it, the same program with libtorch, with
// the same arguments. Loading libtorch takes a second and 150 MB, which the other verbs don't pay this way.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "base/file.h"
#include "cli/retrain.h"
#include "importers/torchscript/torchscript.h"

namespace pith::cli {
namespace {

// Debian's OpenBLAS takes its AVX2 kernels on processors younger than itself, a third as fast as the AVX-512 ones that it
// has; it reads this name once, while it is loaded. Who set it knows better.
void wake_openblas() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    ::setenv("OPENBLAS_CORETYPE", "SKYLAKEX", 0);
#endif
}

}  // namespace

Result<void> hand_over(const std::string& what) {
  std::error_code unknown;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", unknown), other = self.parent_path() / "pith-retrain";
  if (unknown || !std::filesystem::exists(other, unknown))
    return error(ErrorCode::kUnsupported, fmt::format("this pith was built without libtorch, which {} with; install libtorch-dev and build again", what));
  PITH_TRY(const std::string line, read_text_file("/proc/self/cmdline"));
  wake_openblas();
  std::vector<std::string> arguments;
  for (size_t at = 0; at < line.size(); at = line.find('\0', at) + 1) arguments.push_back(line.c_str() + at);
  std::vector<char*> pointers;
  for (std::string& a : arguments) pointers.push_back(a.data());
  pointers.push_back(nullptr);
  ::execv(other.c_str(), pointers.data());
  return internal_error(fmt::format("'{}' can't be executed", other.string()));
}

Result<bool> retrain(ir::Graph&, const SampleSet&, const Preprocess&, const std::string&, const RetrainFlags&, uint64_t, const std::vector<std::vector<ir::Tensor>>&, const RetrainStart*,
                     const CodedBits&, QuantizeOptions&) {
  return internal_error("retraining wasn't handed over");
}

Result<bool> retrain_text(ir::Graph&, const TextRetraining&, const RetrainFlags&, uint64_t, QuantizeOptions&) { return internal_error("retraining wasn't handed over"); }

}  // namespace pith::cli

namespace pith::importers {

Result<ir::Graph> import_torchscript(const std::string&, const OnnxOptions&) { return internal_error("reading TorchScript wasn't handed over"); }

}  // namespace pith::importers
