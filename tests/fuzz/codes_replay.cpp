// codes_replay [FILE... | COUNT]: runs the fuzz target on files, or on COUNT mutations of sound streams (3000 when not said).
// The seed is printed and taken from PITH_SEED; on a crash the input that caused it lies in codes_replay.input.
#include "tests/fuzz/replay.h"
#include "tests/fuzz/seed_files.h"

int main(int argc, char** argv) {
  return pith::fuzz::replay_main(argc, argv, "codes_replay.input", [](const pith::fuzz::Replay& replay, int64_t count) {
    replay.run_mutations_of(pith::fuzz::seed_codes(), count);
  });
}
