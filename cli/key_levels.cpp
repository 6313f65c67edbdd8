// See key_levels.h. The program runs with its keys as further outputs, through the runtime.
#include "cli/key_levels.h"

#include "base/log.h"
#include "cli/language.h"
#include "compile/code_cache.h"

namespace pith::cli {
namespace {

constexpr int64_t kOwnTokens = 128;
constexpr size_t kMostTokens = 4096;

// The program with its keys as outputs after its own.
Result<std::unique_ptr<Engine>> observed(Program p, const std::vector<int32_t>& keys) {
  for (size_t i = 0; i < keys.size(); ++i) p.outputs.push_back({"keys." + std::to_string(i), keys[i], {0, 1, 2, 3}});
  p.metadata.erase("tokenizer");
  PITH_TRY(const Program placed, place(std::move(p), {}));
  PITH_TRY(std::vector<uint8_t> file, write_program(placed, CodecChoice::kFastest));
  return pith_engine(std::move(file), "the model", {});
}

int32_t first_token(const Program& p) {
  const auto block = p.metadata.find("tokenizer");
  if (block == p.metadata.end()) return 0;
  const auto vocabulary = Vocabulary::load(block->second);
  return vocabulary.ok() ? std::max(0, vocabulary->role(PITH_TOKEN_BEGIN)) : 0;
}

}  // namespace

Result<void> learn_key_levels(const Program& program, const std::vector<std::vector<int32_t>>& texts, uint64_t seed, CompileOptions& options) {
  const std::vector<int32_t> keys = options.cache_bits == 4 ? remembered_keys(program) : std::vector<int32_t>();
  if (keys.empty()) return {};
  PITH_TRY(const std::unique_ptr<Engine> engine, observed(program, keys));
  if (engine->inputs().size() != 2 || engine->inputs()[0].name != "token" || engine->inputs()[1].name != "position") {
    log_warning("keys in 4 bits are coded without having been seen: the model's inputs aren't a token and its position");
    return {};
  }
  std::vector<std::vector<float>> seen(keys.size());
  const auto see = [&](const std::vector<Output>& outputs) {
    for (size_t i = 0; i < keys.size(); ++i) {
      const std::vector<float>& values = outputs[outputs.size() - keys.size() + i].values;
      seen[i].insert(seen[i].end(), values.begin(), values.end());
    }
  };
  size_t count = 0;
  for (const std::vector<int32_t>& tokens : texts) {
    engine->reset();
    for (size_t i = 0; i < tokens.size() && count < kMostTokens; ++i, ++count) {
      PITH_TRY(const std::vector<Output> outputs, engine->run(step_inputs(tokens[i], static_cast<int64_t>(i))));
      see(outputs);
    }
  }
  Random random(seed);
  Sampling sampling;
  sampling.temperature = 1;
  int32_t token = first_token(program);
  const int64_t own = std::min(kOwnTokens, known_positions(engine->metadata("positions")));
  for (int64_t i = 0; texts.empty() && i < own; ++i) {
    PITH_TRY(const std::vector<Output> outputs, engine->run(step_inputs(token, i)));
    see(outputs);
    token = choose_token(outputs[0].values, sampling, random);
  }
  for (size_t i = 0; i < keys.size(); ++i) {
    const std::vector<int32_t>& dims = program.tensors[static_cast<size_t>(keys[i])].dims;
    options.key_levels.push_back(key_levels(seen[i], dims[1], dims[3]));
  }
  return {};
}

}  // namespace pith::cli
