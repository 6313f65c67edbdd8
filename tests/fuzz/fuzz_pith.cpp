// A .pith file of arbitrary bytes, with the right checksum: the program reader and the runtime's loader must answer with
// a program or an error, agree about which, and what the runtime accepts must run inside the memory that it asked for.
//
// With PITH_FUZZ this is a libFuzzer target whose mutator changes either bytes or the program that they hold; otherwise
// pith_replay.cpp drives it. Memory is given to the byte, so that the address sanitizer sees any step beyond it.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "pith/pith.h"
#include "program/program.h"
#include "program/structure.h"
#include "tests/fuzz/mutate_program.h"

namespace {

constexpr size_t kMostBytes = 1 << 14;  // of a model or an instance that is executed
constexpr int64_t kMostWork = 50'000;

void check(bool good, const char* what, const std::string& detail) {
  if (good) return;
  std::fprintf(stderr, "%s: %s\n", what, detail.c_str());
  std::abort();
}

std::vector<uint8_t> with_checksum(const uint8_t* data, size_t size) {
  std::vector<uint8_t> bytes(data, data + size);
  const uint32_t crc = pith::format::crc32(data, size - 4);
  for (size_t i = 0; i < 4; ++i) bytes[size - 4 + i] = static_cast<uint8_t>(crc >> (8 * i));
  return bytes;
}

struct Block {
  explicit Block(size_t size) {
    if (posix_memalign(&data, PITH_ALIGNMENT, size > 0 ? size : 1) != 0) std::abort();
    std::memset(data, 0xa5, size);
  }
  ~Block() { std::free(data); }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;
  void* data = nullptr;
};

// An upper bound on the work of one run, so that the fuzzer spends its time on other files.
int64_t work(const pith::Program& p) {
  int64_t total = 0;
  for (const pith::ProgramOp& op : p.ops) {
    int64_t each = 1;
    if (op.opcode == PITH_OPCODE_Pool2d) each = std::min<int64_t>(op.ints[1], 1 << 20) * std::min<int64_t>(op.ints[2], 1 << 20);
    for (const int32_t id : op.outputs) {
      if (id == pith::kNone) continue;
      int64_t n = 1;
      for (const int32_t d : p.tensors[static_cast<size_t>(id)].dims) n *= d;
      total += n * each;
    }
    total += pith::op_macs(p, op);
    if (total > kMostWork) return total;
  }
  return total;
}

void feed(pith_instance* instance, const pith_model* model, uint8_t seed) {
  for (int32_t i = 0; i < pith_input_count(model); ++i) {
    pith_tensor t{};
    check(pith_input(instance, i, &t) == PITH_OK, "an input can't be described", "");
    if (t.type == PITH_TYPE_I32) {
      std::vector<int32_t> v(t.count);
      for (size_t k = 0; k < v.size(); ++k) v[k] = seed < 250 ? static_cast<int32_t>((k + seed) % 4) : static_cast<int32_t>(k * 2654435761u);
      check(pith_set_input_i32(instance, i, v.data(), v.size()) == PITH_OK, "an input is refused", t.name);
    } else {
      std::vector<float> v(t.count);
      for (size_t k = 0; k < v.size(); ++k) v[k] = seed == 255 ? __builtin_nanf("") : seed == 254 ? 3e38f : static_cast<float>((k * 7 + seed) % 23) / 8 - 1;
      check(pith_set_input_f32(instance, i, v.data(), v.size()) == PITH_OK, "an input is refused", t.name);
    }
  }
}

void read_outputs(const pith_instance* instance, const pith_model* model) {
  for (int32_t i = 0; i < pith_output_count(model); ++i) {
    pith_tensor t{};
    check(pith_model_output(model, i, &t) == PITH_OK, "an output can't be described", "");
    std::vector<float> v(t.count);
    const pith_status status = pith_get_output_f32(instance, i, v.data(), v.size());
    check(status == PITH_OK || status == PITH_ERROR_TYPE, "an output can't be read", t.name);
  }
}

void load_and_run(const std::vector<uint8_t>& file, pith_mode mode, const pith_sizes& sizes) {
  const uint8_t seed = file[file.size() - 1];
  Block memory(sizes.model_bytes), arena(sizes.instance_bytes);
  pith_model* model = nullptr;
  pith_instance* instance = nullptr;
  // less than it asked for must be refused, however little it is
  if (seed % 8 == 0) {
    const size_t less = sizes.model_bytes * seed / 256;
    check(pith_load(file.data(), file.size(), mode, 1, memory.data, less, &model) == PITH_ERROR_MEMORY, "too little memory is accepted", std::to_string(less));
  }
  check(pith_load(file.data(), file.size(), mode, 1, memory.data, sizes.model_bytes, &model) == PITH_OK, "what was probed doesn't load", pith_last_error().reason);
  check(pith_instance_create(model, arena.data, sizes.instance_bytes * seed / 256, &instance) == PITH_ERROR_MEMORY, "too little memory is accepted", "instance");
  check(pith_instance_create(model, arena.data, sizes.instance_bytes, &instance) == PITH_OK, "an instance isn't made", pith_last_error().reason);
  for (int run = 0; run < 1 + seed % 2; ++run) {
    feed(instance, model, static_cast<uint8_t>(seed + run));
    check(pith_run(instance) == PITH_OK, "a loaded model doesn't run", pith_last_error().reason);
    read_outputs(instance, model);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 8) return 0;
  const std::vector<uint8_t> file = with_checksum(data, size);
  const auto program = pith::read_program(file);
  check(program.ok() || (program.error().code == pith::ErrorCode::kUsage && !program.error().message.empty()), "the reader fails", program.ok() ? "" : program.error().message);
  char text[16];
  size_t length = 0;
  pith_metadata(file.data(), file.size(), "labels", text, sizeof text, &length);
  const pith_mode mode = file.back() & 64 ? PITH_MODE_SMALLEST : PITH_MODE_FASTEST;  // a bit of the checksum: either
  pith_sizes sizes{};
  const pith_status status = pith_probe(file.data(), file.size(), mode, 1, &sizes);
  check(!program.ok() || status == PITH_OK || status == PITH_ERROR_UNSUPPORTED, "the runtime calls damaged what the reader accepts", pith_last_error().reason);
  if (status != PITH_OK || sizes.model_bytes > 4 * kMostBytes || sizes.instance_bytes > kMostBytes) return 0;
  if (program.ok() ? work(*program) > kMostWork : sizes.instance_bytes > 4096 || sizes.model_bytes > 16384) return 0;
  load_and_run(file, mode, sizes);
  return 0;
}

#ifdef PITH_FUZZ
extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t most);

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t most, unsigned int seed) {
  static const std::vector<pith::Program> seeds = pith::fuzz::seed_programs();
  pith::Random random(seed);
  if (random.integer(0, 3) == 0) return LLVMFuzzerMutate(data, size, most);
  auto program = size < 8 ? pith::Result<pith::Program>(pith::Program{}) : pith::read_program(with_checksum(data, size));
  if (!program.ok() || program->ops.empty()) program = seeds[static_cast<size_t>(random.integer(0, static_cast<int64_t>(seeds.size()) - 1))];
  pith::fuzz::mutate(*program, random);
  const auto choice = random.integer(0, 1) == 0 ? pith::CodecChoice::kSmallest : pith::CodecChoice::kFastest;
  const auto bytes = pith::write_unchecked(*program, choice);
  if (!bytes.ok() || bytes->size() > most) return LLVMFuzzerMutate(data, size, most);
  std::copy(bytes->begin(), bytes->end(), data);
  return bytes->size();
}
#endif
