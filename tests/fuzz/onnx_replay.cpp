// onnx_replay [FILE... | COUNT]: runs the fuzz target on files, or on COUNT mutations of the seed models (3000 when not
// said), structural and bytewise in turn. The seed is printed and taken from PITH_SEED; on a crash the input that caused
// it lies in onnx_replay.input.
#include "importers/onnx/testing/models.h"
#include "tests/fuzz/mutate.h"
#include "tests/fuzz/replay.h"

namespace {

void run_mutations(const pith::fuzz::Replay& replay, int64_t count) {
  pith::Random random(pith::fuzz::replay_seed(count));
  const auto seeds = pith::importers::testing::seed_models();
  for (const auto& model : seeds) replay.run(pith::importers::testing::write_model(model));
  for (int64_t k = 0; k < count; ++k) {
    auto model = seeds[static_cast<size_t>(random.integer(0, static_cast<int64_t>(seeds.size()) - 1))];
    if (k % 4 != 0) pith::fuzz::mutate(model, random);
    pith::fuzz::Bytes bytes = pith::importers::testing::write_model(model);
    if (k % 4 == 0) pith::fuzz::mutate_bytes(bytes, random);
    replay.run(bytes);
  }
}

}  // namespace

int main(int argc, char** argv) { return pith::fuzz::replay_main(argc, argv, "onnx_replay.input", run_mutations); }
