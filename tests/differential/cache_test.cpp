// A decoder whose keys and values are remembered in coded form, against the same decoder in float, and its rolling
// window against one that never saw more: a small Llama with seeded weights, run by the runtime as a user would.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <memory>

#include "base/random.h"
#include "compile/code_cache.h"
#include "importers/huggingface/builder.h"
#include "numerics/cache_rows.h"
#include "pith/pith.h"

namespace pith {
namespace {

constexpr int64_t kWidth = 32, kWords = 50;

uint64_t seed() {
  const char* text = std::getenv("PITH_SEED");
  return text != nullptr ? std::strtoull(text, nullptr, 10) : 7;
}

ir::Graph decoder(int64_t layers, int64_t context, int64_t sinks = 0) {
  importers::LlamaShape s;
  s.width = kWidth, s.hidden = 48, s.layers = layers, s.heads = 4, s.key_heads = 2, s.head_width = 8,
  s.vocabulary = kWords, s.positions = 64, s.tied = true;
  Random random(seed());
  importers::Weights w;
  const auto add = [&](const std::string& name, ir::Shape shape, double mean) {
    ir::Tensor t(ir::DType::kF32, std::move(shape));
    for (float& x : t.mut<float>()) x = static_cast<float>(mean + 0.2 * random.normal());
    w.add(name, std::move(t));
  };
  add("model.embed_tokens.weight", {kWords, kWidth}, 0);
  for (int64_t i = 0; i < layers; ++i) {
    const std::string at = "model.layers." + std::to_string(i) + ".";
    add(at + "input_layernorm.weight", {kWidth}, 1), add(at + "post_attention_layernorm.weight", {kWidth}, 1);
    add(at + "self_attn.q_proj.weight", {32, kWidth}, 0), add(at + "self_attn.k_proj.weight", {16, kWidth}, 0),
        add(at + "self_attn.v_proj.weight", {16, kWidth}, 0);
    add(at + "self_attn.o_proj.weight", {kWidth, 32}, 0);
    add(at + "mlp.gate_proj.weight", {48, kWidth}, 0), add(at + "mlp.up_proj.weight", {48, kWidth}, 0),
        add(at + "mlp.down_proj.weight", {kWidth, 48}, 0);
  }
  add("model.norm.weight", {kWidth}, 1);
  importers::TransformerOptions options;
  options.context = context;
  options.sinks = sinks;
  auto graph = importers::build_llama(w, s, options);
  EXPECT_TRUE(graph.ok()) << graph.error().message;
  return *graph;
}

CompileOptions in_bits(int bits) {
  CompileOptions options;
  options.cache_bits = bits;
  return options;
}

Program compiled(const ir::Graph& g, int bits) {
  auto program = compile(g, in_bits(bits));
  EXPECT_TRUE(program.ok()) << program.error().message;
  return *program;
}

struct Free {
  void operator()(void* p) const { std::free(p); }
};

// One instance of a written program.
class Runner {
 public:
  explicit Runner(const Program& p) : file_(*write_program(p, CodecChoice::kFastest)) {
    pith_sizes sizes;
    EXPECT_EQ(pith_probe(file_.data(), file_.size(), PITH_MODE_FASTEST, 1, &sizes), PITH_OK)
        << pith_last_error().reason;
    memory_.reset(std::aligned_alloc(64, (sizes.model_bytes + 63) / 64 * 64 + 64));
    arena_.reset(std::aligned_alloc(64, (sizes.instance_bytes + 63) / 64 * 64 + 64));
    EXPECT_EQ(pith_load(file_.data(), file_.size(), PITH_MODE_FASTEST, 1, memory_.get(), sizes.model_bytes, &model_),
              PITH_OK)
        << pith_last_error().reason;
    EXPECT_EQ(pith_instance_create(model_, arena_.get(), sizes.instance_bytes, &instance_), PITH_OK);
  }
  std::vector<float> step(int32_t token, int32_t position) {
    const float t = static_cast<float>(token), p = static_cast<float>(position);
    EXPECT_EQ(pith_set_input_f32(instance_, 0, &t, 1), PITH_OK);
    EXPECT_EQ(pith_set_input_f32(instance_, 1, &p, 1), PITH_OK);
    EXPECT_EQ(pith_run(instance_), PITH_OK);
    std::vector<float> logits(kWords);
    EXPECT_EQ(pith_get_output_f32(instance_, 0, logits.data(), logits.size()), PITH_OK);
    return logits;
  }

 private:
  std::vector<uint8_t> file_;
  std::unique_ptr<void, Free> memory_, arena_;
  pith_model* model_ = nullptr;
  pith_instance* instance_ = nullptr;
};

int32_t word(int32_t position) { return (position * 17 + 5) % static_cast<int32_t>(kWords); }

// Relative to the largest: how far two runs of so many tokens differ.
double difference(const Program& a, const Program& b, int32_t tokens) {
  Runner first(a), second(b);
  double most = 0, largest = 0;
  for (int32_t p = 0; p < tokens; ++p) {
    const auto x = first.step(word(p), p), y = second.step(word(p), p);
    for (size_t i = 0; i < x.size(); ++i)
      most = std::max(most, std::abs(static_cast<double>(x[i]) - y[i])),
      largest = std::max(largest, std::abs(static_cast<double>(x[i])));
  }
  return most / largest;
}

TEST(CacheRows, AreWithinHalfAStepOfTheirLargest) {
  Random random(seed());
  for (int trial = 0; trial < 2000; ++trial) {
    SCOPED_TRACE("PITH_SEED=" + std::to_string(seed()) + " trial " + std::to_string(trial));
    const int32_t depth = static_cast<int32_t>(random.integer(1, 100)), bits = random.integer(0, 1) ? 4 : 8,
                  group = bits == 8 ? depth : numerics::kCacheGroup;
    std::vector<float> x(static_cast<size_t>(depth)), y(x.size());
    const double size = std::exp(random.normal());
    for (float& v : x) v = static_cast<float>(size * random.normal());
    std::vector<uint8_t> row(static_cast<size_t>(numerics::cache_row_bytes(depth, bits)));
    numerics::encode_cache_row(x.data(), depth, bits, row.data());
    numerics::decode_cache_row(row.data(), depth, bits, y.data());
    for (int32_t first = 0; first < depth; first += group) {
      double most = 0, error = 0;
      const int32_t last = std::min(depth, first + group);
      for (int32_t i = first; i < last; ++i)
        most = std::max(most, std::abs(static_cast<double>(x[static_cast<size_t>(i)])));
      for (int32_t i = first; i < last; ++i)
        error += std::pow(static_cast<double>(x[static_cast<size_t>(i)]) - y[static_cast<size_t>(i)], 2);
      const double step = most / (bits == 8 ? 127 : 7) * std::exp2(0.125);  // the grid of scales is 2^(1/8) wide
      ASSERT_LE(error, (last - first) * 0.25 * step * step * 1.000001) << depth << " values, " << bits << " bits";
    }
  }
}

TEST(CacheRows, ZerosAreZeroBytesOfCodesAndBadNumbersStayWithin) {
  for (const int32_t bits : {4, 8}) {
    std::vector<uint8_t> row(static_cast<size_t>(numerics::cache_row_bytes(5, bits)), 0);
    float y[5] = {1, 1, 1, 1, 1};
    numerics::decode_cache_row(row.data(), 5, bits, y);  // cleared state
    for (float v : y) EXPECT_EQ(v, 0);
    const float x[5] = {NAN, INFINITY, -INFINITY, 1, -1e30f};
    numerics::encode_cache_row(x, 5, bits, row.data());
    numerics::decode_cache_row(row.data(), 5, bits, y);
    for (float v : y) EXPECT_TRUE(std::isfinite(v));
    EXPECT_EQ(y[0], 0);
  }
}

TEST(CodedCache, TakesAFractionOfTheMemoryAndStaysNearFloat) {
  const ir::Graph g = decoder(3, 32);
  const Program plain = compiled(g, 0), eight = compiled(g, 8), four = compiled(g, 4), six = compiled(g, 6);
  const int64_t rows = 3 * 2 * 2 * 32;  // layers, keys and values, heads, slots
  EXPECT_EQ(state_bytes(plain), rows * 8 * 4);
  EXPECT_EQ(state_bytes(eight), rows * 9);
  EXPECT_EQ(state_bytes(four), rows * 5 + 32 * 4);  // and positions, once for all layers
  EXPECT_EQ(state_bytes(six), rows * 7);
  EXPECT_LE(eight.arena_bytes, plain.arena_bytes - rows * 23 + 8192);
  const double at_eight = difference(plain, eight, 60), at_four = difference(plain, four, 60),
               at_six = difference(plain, six, 60);
  EXPECT_LT(at_eight, 0.05);
  EXPECT_LT(at_four, 0.6);
  EXPECT_GT(at_four, at_six);
  EXPECT_GT(at_six, at_eight);
  EXPECT_GT(at_eight, 0);  // it is coded
}

// With one layer, what is remembered follows from a token and its position alone. So after the window has rolled, the
// logits are those of a decoder that saw the last tokens only: at the same positions bit for bit, and, since rotation
// leaves only the distances, at positions from 0 on to the rounding of floats.
TEST(CodedCache, ARollingWindowIsTheLastTokensRecomputed) {
  constexpr int32_t kContext = 8, kLast = 29;
  const ir::Graph g = decoder(1, kContext);
  for (const int bits : {0, 8, 4}) {
    const Program p = compiled(g, bits);
    Runner rolled(p), again(p), from_zero(p);
    std::vector<float> want, same, moved;
    for (int32_t at = 0; at <= kLast; ++at) want = rolled.step(word(at), at);
    for (int32_t at = kLast - kContext + 1; at <= kLast; ++at)
      same = again.step(word(at), at), moved = from_zero.step(word(at), at - (kLast - kContext + 1));
    EXPECT_EQ(want, same) << bits << " bits";
    for (size_t i = 0; i < want.size(); ++i)
      EXPECT_NEAR(want[i], moved[i], bits == 8 ? 0.1 : 1e-3) << bits << " bits";  // keys in 4 bits are coded before their turn
    Runner other(p);
    std::vector<float> less;
    for (int32_t at = kLast - kContext + 2; at <= kLast; ++at) less = other.step(word(at), at);
    EXPECT_NE(want, less);  // the oldest of the window counts
  }
}

// The first tokens stay: with one layer, the logits are those of a decoder with a longer window that was shown only the first tokens
// and the latest, at their own positions.
TEST(CodedCache, SinksStayWhileTheWindowRolls) {
  constexpr int32_t kContext = 9, kSinks = 3, kLast = 31;
  for (const int bits : {0, 8, 4}) {
    const Program p = compiled(decoder(1, kContext, kSinks), bits);
    EXPECT_EQ(state_bytes(p), state_bytes(compiled(decoder(1, kContext), bits)));
    Runner streamed(p), chosen(p), rolled(compiled(decoder(1, kContext), bits));
    std::vector<float> want, got, other;
    for (int32_t at = 0; at <= kLast; ++at) want = streamed.step(word(at), at), other = rolled.step(word(at), at);
    for (int32_t at = 0; at < kSinks; ++at) chosen.step(word(at), at);
    for (int32_t at = kLast - (kContext - kSinks) + 1; at <= kLast; ++at) got = chosen.step(word(at), at);
    EXPECT_EQ(want, got) << bits << " bits";
    EXPECT_NE(want, other);  // the first tokens count
  }
}

// Levels and factors only move where the codes' steps fall: with any of them attention sees the same keys, but for those steps.
TEST(CodedCache, KeysAboutAnyLevelsAreTheSameKeys) {
  const ir::Graph g = decoder(2, 16);
  const Program plain = compiled(g, 0);
  const std::vector<int32_t> keys = remembered_keys(plain);
  ASSERT_EQ(keys.size(), 2u);
  for (int32_t id : keys) EXPECT_EQ(plain.tensors[static_cast<size_t>(id)].dims, (std::vector<int32_t>{1, 2, 1, 8}));
  CompileOptions options = in_bits(4);
  Random random(seed());
  for (size_t k = 0; k < keys.size(); ++k) {
    KeyLevels levels;
    for (int i = 0; i < 16; ++i) levels.factors.push_back(i % 3 ? 0.5f : 1.0f), levels.levels.push_back(static_cast<float>(0.5 * random.normal()));
    options.key_levels.push_back(std::move(levels));
  }
  auto moved = compile(g, options);
  ASSERT_TRUE(moved.ok()) << moved.error().message;
  EXPECT_LT(difference(plain, *moved, 40), 0.6);
  for (const ProgramOp& op : moved->ops) EXPECT_NE(op.opcode, PITH_OPCODE_CachedAttention);
  EXPECT_EQ(std::count_if(moved->ops.begin(), moved->ops.end(), [](const ProgramOp& op) { return op.opcode == PITH_OPCODE_TurnedAttention; }), 2);
  EXPECT_EQ(std::count_if(moved->ops.begin(), moved->ops.end(), [](const ProgramOp& op) { return op.opcode == PITH_OPCODE_Rotary; }), 2);  // the queries'
}

// Channels with means of up to 20 times their spread, and spreads of up to 16 times each other's: 4 bits about the levels
// that were learnt lose a small part of what 4 bits of the keys as they are lose.
TEST(CodedCache, LevelsAreMeansAndFactorsSpreads) {
  constexpr int64_t kHeads = 2, kDepth = 8, kKeys = 200;
  Random random(seed());
  std::vector<float> keys;
  for (int64_t i = 0; i < kKeys * kHeads * kDepth; ++i) {
    const auto channel = i % (kHeads * kDepth);
    const double spread = std::exp2(-static_cast<double>(channel % kDepth) / 2);
    keys.push_back(static_cast<float>(spread * random.normal() + (channel % 3 - 1) * 20.0 * spread));
  }
  const KeyLevels found = key_levels(keys, kHeads, kDepth);
  double plain = 0, about = 0;
  for (size_t first = 0; first < keys.size(); first += kDepth) {
    const size_t channel = first % (kHeads * kDepth);
    float lowered[kDepth], back[kDepth];
    uint8_t row[numerics::cache_row_bytes(kDepth, 4)];
    for (size_t d = 0; d < kDepth; ++d) lowered[d] = numerics::lower_key(keys[first + d], found.factors[channel + d], found.levels[channel + d]);
    numerics::encode_cache_row(lowered, kDepth, 4, row);
    numerics::decode_cache_row(row, kDepth, 4, back);
    numerics::raise_key(back, kDepth, found.factors.data() + channel, found.levels.data() + channel);
    for (size_t d = 0; d < kDepth; ++d) about += std::pow((static_cast<double>(back[d]) - keys[first + d]) / found.factors[channel + d], 2);
    numerics::encode_cache_row(keys.data() + first, kDepth, 4, row);
    numerics::decode_cache_row(row, kDepth, 4, back);
    for (size_t d = 0; d < kDepth; ++d) plain += std::pow((static_cast<double>(back[d]) - keys[first + d]) / found.factors[channel + d], 2);
  }
  EXPECT_LT(about, 0.02 * plain) << "PITH_SEED=" << seed();
  for (float f : found.factors) EXPECT_TRUE(f == 1 || f == 0.5f || f == 0.25f || f == 0.125f || f == 0.0625f) << f;
}

TEST(CodedCache, SinksMustLeaveAWindow) {
  importers::LlamaShape s;
  s.width = 32, s.hidden = 48, s.layers = 1, s.heads = 4, s.key_heads = 2, s.head_width = 8, s.vocabulary = 50, s.positions = 64, s.tied = true;
  importers::TransformerOptions options;
  options.context = options.sinks = 8;
  const auto graph = importers::build_llama(importers::Weights(), s, options);
  ASSERT_FALSE(graph.ok());
  EXPECT_EQ(graph.error().code, ErrorCode::kUsage);
  EXPECT_NE(graph.error().message.find("sinks"), std::string::npos) << graph.error().message;
}

TEST(CodedCache, IsRefusedWhereNothingIsRemembered) {
  const ir::Graph g = decoder(1, 8);
  Program p = compiled(g, 8);
  EXPECT_TRUE(place(p, in_bits(8)).ok());  // again
  const auto other = place(p, in_bits(4));
  ASSERT_FALSE(other.ok());
  EXPECT_NE(other.error().message.find("8 bits already"), std::string::npos) << other.error().message;
  p = compiled(g, 0);
  p.state.clear();
  const auto none = place(p, in_bits(8));
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.error().code, ErrorCode::kUsage);
  EXPECT_NE(none.error().message.find("--cache-bits"), std::string::npos) << none.error().message;
}

}  // namespace
}  // namespace pith
