// Very small seeded models of each kind, with the outputs that PyPI's `transformers` gave (tools/check_transformers.py --golden writes
// them): the float interpreter must agree. And folders that must be refused.
#include "importers/huggingface/huggingface.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/random.h"
#include "importers/llama2c/llama2c.h"
#include "importers/tokenizer/tokenizer.h"
#include "ir/interpret.h"

namespace pith::importers {
namespace {

namespace fs = std::filesystem;

std::string golden(const std::string& name) {
  const char* root = std::getenv("PITH_SOURCE_DIR");
  return (fs::path(root != nullptr ? root : ".") / "importers/huggingface/golden" / name).string();
}

// Runs in order, states carried; the first outputs one after the other.
std::vector<float> outputs(const ir::Graph& g, const nlohmann::json& runs) {
  std::vector<float> all;
  std::map<ir::ValueId, ir::Tensor> states;
  for (const auto& run : runs) {
    std::vector<ir::Tensor> inputs;
    for (ir::ValueId id : g.inputs) {
      const ir::Value& v = g.value(id);
      ir::Tensor t(v.dtype, v.shape);
      if (run.contains(v.name)) {
        const std::vector<double> x = run.at(v.name).get<std::vector<double>>();
        EXPECT_EQ(static_cast<int64_t>(x.size()), t.count()) << v.name;
        for (size_t i = 0; i < x.size(); ++i) t.set(static_cast<int64_t>(i), x[i]);
      } else if (states.count(id) != 0) {
        t = states[id];
      }
      inputs.push_back(std::move(t));
    }
    const auto result = ir::interpret(g, inputs);
    EXPECT_TRUE(result.ok()) << result.error().message;
    if (!result.ok()) return all;
    bool first = true;
    for (size_t k = 0; k < g.outputs.size(); ++k) {
      bool state = false;
      for (const auto& [in, out] : g.state) {
        if (out != g.outputs[k]) continue;
        states[in] = (*result)[k];
        state = true;
      }
      if (state || !first) continue;
      first = false;
      const auto x = (*result)[k].as<float>();
      all.insert(all.end(), x.begin(), x.end());
    }
  }
  return all;
}

class Golden : public ::testing::TestWithParam<const char*> {};

TEST_P(Golden, AgreesWithTransformers) {
  TransformerOptions options;
  options.sequence = 16;
  const auto g = import_huggingface(golden(GetParam()), options);
  ASSERT_TRUE(g.ok()) << g.error().message;
  const auto expected = read_json(golden(std::string(GetParam()) + "/expected.json"));
  ASSERT_TRUE(expected.ok());
  const std::vector<float> wanted = expected->at("output").get<std::vector<float>>(), got = outputs(*g, expected->at("runs"));
  ASSERT_GE(got.size(), wanted.size());
  float largest = 0;
  for (float w : wanted) largest = std::max(largest, std::abs(w));
  for (size_t i = 0; i < wanted.size(); ++i) ASSERT_NEAR(got[i], wanted[i], 1e-5f * largest) << i;
}
INSTANTIATE_TEST_SUITE_P(Kinds, Golden, ::testing::Values("bert", "bert-mlm-bin", "roberta-mlm", "gpt2", "llama-bin", "vit"));

TEST(HuggingFace, TheWindowOfADecoderRolls) {
  TransformerOptions options;
  options.context = 4;
  const auto g = import_huggingface(golden("llama-bin"), options);
  ASSERT_TRUE(g.ok()) << g.error().message;
  const auto expected = read_json(golden("llama-bin/expected.json"));
  const std::vector<float> wanted = expected->at("output").get<std::vector<float>>(), got = outputs(*g, expected->at("runs"));
  ASSERT_EQ(got.size(), wanted.size());
  const size_t vocabulary = wanted.size() / 10;
  for (size_t i = 0; i < 4 * vocabulary; ++i) ASSERT_NEAR(got[i], wanted[i], 1e-4f);  // within the window: the same
  float difference = 0;
  for (size_t i = 4 * vocabulary; i < wanted.size(); ++i) difference = std::max(difference, std::abs(got[i] - wanted[i]));
  EXPECT_GT(difference, 1e-4f);  // beyond it the first tokens are forgotten
}

// Within a band a token hears of others from so many places away in each layer, and of no more.
TEST(HuggingFace, ABandHidesWhatIsFar) {
  TransformerOptions options;
  options.sequence = 16;
  const auto with_last = [&](int64_t band, int last) {
    options.band = band;
    const auto g = import_huggingface(golden("bert"), options);
    EXPECT_TRUE(g.ok()) << g.error().message;
    nlohmann::json ids = nlohmann::json::array(), known = nlohmann::json::array();
    for (int i = 0; i < 16; ++i) ids.push_back(i == 15 ? last : 5 + i), known.push_back(1);
    std::vector<float> all = outputs(*g, nlohmann::json::array({{{"input_ids", ids}, {"attention_mask", known}}}));
    all.resize(all.size() / 16);  // the first token's
    return all;
  };
  EXPECT_EQ(with_last(0, 6), with_last(16, 6));
  EXPECT_NE(with_last(0, 6), with_last(0, 9));
  EXPECT_EQ(with_last(1, 6), with_last(1, 9));
  EXPECT_NE(with_last(1, 6), with_last(0, 6));
}

class Whole : public ::testing::TestWithParam<const char*> {};

TEST_P(Whole, ManyTokensAtOnceAreWhatTheStepsGive) {
  const auto expected = read_json(golden(GetParam() + std::string("/expected.json")));
  const std::vector<float> wanted = expected->at("output").get<std::vector<float>>();
  nlohmann::json tokens = nlohmann::json::array();
  for (const auto& run : expected->at("runs")) tokens.push_back(run.at("token").at(0));
  TransformerOptions options;
  options.whole = static_cast<int64_t>(tokens.size());
  const auto g = import_huggingface(golden(GetParam()), options);
  ASSERT_TRUE(g.ok()) << g.error().message;
  EXPECT_TRUE(g->state.empty());
  const std::vector<float> got = outputs(*g, nlohmann::json::array({{{"tokens", tokens}}}));
  ASSERT_EQ(got.size(), wanted.size());
  for (size_t i = 0; i < wanted.size(); ++i) ASSERT_NEAR(got[i], wanted[i], 1e-4f) << i;
  options.whole = 1 << 20;
  EXPECT_FALSE(import_huggingface(golden(GetParam()), options).ok());
}
INSTANTIATE_TEST_SUITE_P(Kinds, Whole, ::testing::Values("llama-bin", "gpt2"));

TEST(HuggingFace, SeveralMasksAreWhatEachGives) {
  TransformerOptions one, several;
  one.sequence = several.sequence = 12;
  several.masks = 3;
  const auto single = import_huggingface(golden("roberta-mlm"), one), all = import_huggingface(golden("roberta-mlm"), several);
  ASSERT_TRUE(single.ok() && all.ok()) << all.error().message;
  const auto run = [](const ir::Graph& g, const std::vector<int>& places) {
    const nlohmann::json inputs = {{"input_ids", {0, 5, 6, 7, 8, 9, 10, 11, 12, 2, 1, 1}}, {"attention_mask", {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0}}, {"mask_position", places}};
    return outputs(g, nlohmann::json::array({inputs}));
  };
  const std::vector<float> got = run(*all, {2, 7, 2});
  const std::vector<float> first = run(*single, {2}), second = run(*single, {7});
  ASSERT_EQ(got.size(), 3 * first.size());
  for (size_t i = 0; i < first.size(); ++i) {
    ASSERT_NEAR(got[i], first[i], 1e-5f) << i;
    ASSERT_NEAR(got[first.size() + i], second[i], 1e-5f) << i;
    ASSERT_NEAR(got[2 * first.size() + i], first[i], 1e-5f) << i;
  }
  EXPECT_FALSE(import_huggingface(golden("bert"), several).ok());  // has no such head
}

class Folder : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("pith_huggingface_" + std::to_string(reinterpret_cast<uintptr_t>(this)));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  void write(const std::string& name, std::string_view text) { ASSERT_TRUE(write_file((folder_ / name).string(), text).ok()); }
  std::string message() {
    const auto g = import_huggingface(folder_.string());
    return g.ok() ? "accepted" : g.error().message;
  }
  fs::path folder_;
};

TEST_F(Folder, RefusalsNameTheCulprit) {
  write("config.json", "{\"model_type\":\"t5\"}");
  EXPECT_NE(message().find("has no weights"), std::string::npos);
  write("model.safetensors", std::string("\x02\0\0\0\0\0\0\0{}", 10));
  EXPECT_NE(message().find("'t5'"), std::string::npos);
  write("config.json", "{\"model_type\":\"bert\",\"hidden_size\":8,\"num_attention_heads\":2}");
  EXPECT_NE(message().find("no weights called"), std::string::npos);
  write("model.safetensors", "\xff\xff\xff\xff\xff\xff\xff\x7f{}");
  EXPECT_NE(message().find("no safetensors file"), std::string::npos);
  write("model.safetensors", std::string("\x42\0\0\0\0\0\0\0{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,160]}}           ", 74));
  EXPECT_NE(message().find("outside the file"), std::string::npos);
}

// A pickle may name anything to be called; none of it is.
TEST_F(Folder, APickleIsNeverRun) {
  auto file = read_file(golden("llama-bin/pytorch_model.bin"));
  ASSERT_TRUE(file.ok());
  std::string bytes(file->begin(), file->end());
  const size_t at = bytes.find("ccollections\nOrderedDict");
  ASSERT_NE(at, std::string::npos);
  bytes.replace(at, 24, "cposixxxxxx\nsystemmmmmmm");
  write("config.json", "{\"model_type\":\"llama\"}");
  write("pytorch_model.bin", bytes);
  EXPECT_NE(message().find("calls 'posixxxxxx systemmmmmmm'"), std::string::npos) << message();
}

TEST_F(Folder, DamagedArchivesAreRefusedOrReadButNeverCrash) {
  const char* seed = std::getenv("PITH_SEED");
  Random random(seed != nullptr ? std::strtoull(seed, nullptr, 10) : 11);
  fs::copy_file(golden("llama-bin/config.json"), folder_ / "config.json");
  for (const char* name : {"llama-bin/pytorch_model.bin", "bert/model.safetensors"}) {
    const auto file = read_file(golden(name));
    ASSERT_TRUE(file.ok());
    int refused = 0;
    for (int round = 0; round < 300; ++round) {
      std::vector<uint8_t> bad = *file;
      const size_t reach = std::min<size_t>(bad.size(), 1500);  // headers lie at the beginning, a zip's directory at the end
      for (int k = 0; k < 3; ++k) {
        const size_t at = static_cast<size_t>(random.integer(0, static_cast<int64_t>(reach) - 1));
        bad[random.integer(0, 1) != 0 ? at : bad.size() - 1 - at] = static_cast<uint8_t>(random.integer(0, 255));
      }
      if (round % 3 == 0) bad.resize(static_cast<size_t>(random.integer(0, static_cast<int64_t>(bad.size()))));
      const std::string path = (folder_ / "damaged").string();
      ASSERT_TRUE(write_file(path, bad).ok());
      Weights weights;
      const bool zip = std::string_view(name).ends_with(".bin");
      refused += !(zip ? read_torch_archive(path, weights) : read_safetensors(path, weights)).ok();
    }
    EXPECT_GT(refused, 50) << name;
  }
}

TEST_F(Folder, CheckpointsOfLlama2c) {
  const int32_t header[7] = {8, 12, 1, 2, 1, 16, 8};  // width, hidden, layers, heads, key heads, vocabulary, positions
  const size_t floats = 16 * 8 + 8 + 64 + 32 + 32 + 64 + 8 + 3 * 96 + 8 + 8 * 4;
  std::string file(reinterpret_cast<const char*>(header), sizeof header);
  Random random(3);
  for (size_t i = 0; i < floats; ++i) {
    const float x = static_cast<float>(random.uniform(-0.5, 0.5));
    file.append(reinterpret_cast<const char*>(&x), 4);
  }
  write("model.bin", file);
  const std::string path = (folder_ / "model.bin").string();
  EXPECT_TRUE(is_llama2c(path));
  const auto g = import_llama2c(path);
  ASSERT_TRUE(g.ok()) << g.error().message;
  EXPECT_EQ(g->state.size(), 2u);
  EXPECT_EQ(ir::parameter_count(*g) >= static_cast<int64_t>(floats) - 32, true);
  write("model.bin", file.substr(0, file.size() - 4));
  EXPECT_FALSE(is_llama2c(path));
  EXPECT_FALSE(import_llama2c(path).ok());
}

}  // namespace
}  // namespace pith::importers
