// Writes a small .pith file for tests that start from one: sample_file PATH
#include <cstdio>

#include "runtime/testing/sample_program.h"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const auto bytes = pith::write_program(pith::testing::network(), pith::CodecChoice::kSmallest);
  if (!bytes.ok()) return 1;
  std::FILE* f = std::fopen(argv[1], "wb");
  if (f == nullptr) return 1;
  const bool written = std::fwrite(bytes->data(), 1, bytes->size(), f) == bytes->size();
  return std::fclose(f) == 0 && written ? 0 : 1;
}
