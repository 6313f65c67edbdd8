// pith_replay [FILE... | COUNT]: runs the fuzz target on files, or on COUNT mutations of the seed programs (3000 when not
// said), structural and bytewise in turn. The seed is printed and taken from PITH_SEED; on a crash the input that caused
// it lies in pith_replay.input.
#include <cstdio>
#include <cstdlib>
#include <string>

#include "tests/fuzz/mutate_program.h"
#include "tests/fuzz/replay.h"

namespace {

using pith::Random;
using pith::fuzz::Bytes;

void run_mutations(const pith::fuzz::Replay& replay, int64_t count) {
  Random random(pith::fuzz::replay_seed(count));
  const auto seeds = pith::fuzz::seed_programs();
  const auto written = [](const pith::Program& p) { return pith::write_unchecked(p, pith::CodecChoice::kSmallest); };
  for (const auto& program : seeds) replay.run(written(program).value());
  for (int64_t k = 0; k < count; ++k) {
    pith::Program program = seeds[static_cast<size_t>(random.integer(0, static_cast<int64_t>(seeds.size()) - 1))];
    if (k % 4 != 0) pith::fuzz::mutate(program, random);
    auto bytes = written(program);
    if (!bytes.ok()) continue;  // a tensor that nothing names any more
    if (k % 4 == 0) pith::fuzz::mutate_bytes(*bytes, random);
    replay.run(*bytes);
  }
}

}  // namespace

int main(int argc, char** argv) { return pith::fuzz::replay_main(argc, argv, "pith_replay.input", run_mutations); }
