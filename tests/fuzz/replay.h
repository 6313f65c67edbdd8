// What the replays of the fuzz targets share: files from the command line, or a number of mutations.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/random.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace pith::fuzz {

using Bytes = std::vector<uint8_t>;

inline uint64_t replay_seed(int64_t count) {
  const char* text = std::getenv("PITH_SEED");
  const uint64_t seed = text ? std::strtoull(text, nullptr, 10) : 1;
  std::printf("PITH_SEED=%llu, %lld mutations\n", static_cast<unsigned long long>(seed), static_cast<long long>(count));
  return seed;
}

inline void mutate_bytes(Bytes& bytes, Random& random) {
  for (int64_t k = random.integer(1, 6); k > 0 && !bytes.empty(); --k) {
    const size_t at = static_cast<size_t>(random.integer(0, static_cast<int64_t>(bytes.size()) - 1));
    switch (random.integer(0, 4)) {
      case 0: bytes[at] = static_cast<uint8_t>(random.integer(0, 255)); break;
      case 1: bytes[at] ^= static_cast<uint8_t>(1 << random.integer(0, 7)); break;
      case 2: bytes.erase(bytes.begin() + static_cast<long>(at)); break;
      case 3: bytes.insert(bytes.begin() + static_cast<long>(at), static_cast<uint8_t>(random.integer(0, 255))); break;
      default: bytes.resize(at); break;
    }
  }
}

// Runs the target, with the input on disk for as long as it may crash.
// The file stays open: some file systems write a file that was emptied to the disk as soon as it is closed.
class Replay {
 public:
  explicit Replay(const char* input_path) : file_(open(input_path, O_RDWR | O_CREAT | O_CLOEXEC, 0644)) {
    if (file_ < 0) std::perror(input_path), std::abort();
  }
  ~Replay() { close(file_); }
  Replay(const Replay&) = delete;
  Replay& operator=(const Replay&) = delete;

  void run(const Bytes& bytes) const {
    const long size = static_cast<long>(bytes.size());
    if (pwrite(file_, bytes.data(), bytes.size(), 0) != size || ftruncate(file_, size) != 0) std::perror("the input can't be kept"), std::abort();
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
  }
  // Each of the seeds, then so many of them with some bytes changed.
  void run_mutations_of(const std::vector<Bytes>& seeds, int64_t count) const {
    Random random(replay_seed(count));
    for (const Bytes& seed : seeds) run(seed);
    for (int64_t k = 0; k < count; ++k) {
      Bytes bytes = seeds[static_cast<size_t>(random.integer(0, static_cast<int64_t>(seeds.size()) - 1))];
      mutate_bytes(bytes, random);
      run(bytes);
    }
  }

 private:
  int file_;
};

inline int replay_main(int argc, char** argv, const char* input_path, void (*run_mutations)(const Replay&, int64_t)) {
  const Replay replay(input_path);
  const std::string first = argc > 1 ? argv[1] : "3000";
  if (first.find_first_not_of("0123456789") == std::string::npos) {
    run_mutations(replay, std::stoll(first));
  } else {
    for (int i = 1; i < argc; ++i) {
      const auto bytes = read_file(argv[i]);
      if (!bytes.ok()) return std::fprintf(stderr, "%s\n", bytes.error().message.c_str()), 2;
      replay.run(*bytes);
    }
  }
  std::remove(input_path);
  return 0;
}

}  // namespace pith::fuzz
