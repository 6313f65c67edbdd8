// onnx_replay [FILE... | COUNT]: runs the fuzz target on files, or on COUNT mutations of the seed models (3000 when not
// said), structural and bytewise in turn. The seed is printed and taken from PITH_SEED; on a crash the input that caused
// it lies in onnx_replay.input.
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

#include "base/file.h"
#include "importers/onnx/testing/models.h"
#include "tests/fuzz/mutate.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

using pith::Random;
using Bytes = std::vector<uint8_t>;

void mutate_bytes(Bytes& bytes, Random& random) {
  const auto position = [&] { return static_cast<size_t>(random.integer(0, static_cast<int64_t>(bytes.size()) - 1)); };
  for (int64_t k = random.integer(1, 6); k > 0 && !bytes.empty(); --k) {
    const size_t at = position();
    switch (random.integer(0, 4)) {
      case 0: bytes[at] = static_cast<uint8_t>(random.integer(0, 255)); break;
      case 1: bytes[at] ^= static_cast<uint8_t>(1 << random.integer(0, 7)); break;
      case 2: bytes.erase(bytes.begin() + static_cast<long>(at)); break;
      case 3: bytes.insert(bytes.begin() + static_cast<long>(at), static_cast<uint8_t>(random.integer(0, 255))); break;
      default: bytes.resize(at); break;
    }
  }
}

void run(const Bytes& bytes) {
  std::ofstream("onnx_replay.input", std::ios::binary).write(reinterpret_cast<const char*>(bytes.data()), static_cast<long>(bytes.size()));
  LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
}

void run_mutations(int64_t count) {
  const char* text = std::getenv("PITH_SEED");
  const uint64_t seed = text ? std::strtoull(text, nullptr, 10) : 1;
  std::printf("PITH_SEED=%llu, %lld mutations\n", static_cast<unsigned long long>(seed), static_cast<long long>(count));
  Random random(seed);
  const auto seeds = pith::importers::testing::seed_models();
  for (const auto& model : seeds) run(pith::importers::testing::write_model(model));
  for (int64_t k = 0; k < count; ++k) {
    auto model = seeds[static_cast<size_t>(random.integer(0, static_cast<int64_t>(seeds.size()) - 1))];
    if (k % 4 != 0) pith::fuzz::mutate(model, random);
    Bytes bytes = pith::importers::testing::write_model(model);
    if (k % 4 == 0) mutate_bytes(bytes, random);
    run(bytes);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::string first = argc > 1 ? argv[1] : "3000";
  if (first.find_first_not_of("0123456789") == std::string::npos) {
    run_mutations(std::stoll(first));
  } else {
    for (int i = 1; i < argc; ++i) {
      const auto bytes = pith::read_file(argv[i]);
      if (!bytes.ok()) return std::fprintf(stderr, "%s\n", bytes.error().message.c_str()), 2;
      run(*bytes);
    }
  }
  std::remove("onnx_replay.input");
  return 0;
}
