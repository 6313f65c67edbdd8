// Vocabularies of a few dozen tokens, made here, through every reader, the coder and the C library: the expected tokens follow from the
// definitions and can be checked by eye. (tools/check_tokenizers.py compares with the reference libraries on 100,000 lines.)
#include "importers/tokenizer/tokenizer.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>

#include "base/file.h"
#include "base/random.h"
#include "coding/encode/tokenizer.h"
#include "post/tokenizer.h"

namespace pith {
namespace {

namespace fs = std::filesystem;

struct Loaded {
  std::vector<uint8_t> block;
  std::unique_ptr<uint64_t[]> memory;
  pith_tokenizer* t = nullptr;
};

Loaded load(const Tokenizer& tokenizer) {
  Loaded l;
  auto block = coding::encode_tokenizer(tokenizer);
  EXPECT_TRUE(block.ok());
  l.block = *block;
  size_t bytes = 0;
  EXPECT_EQ(pith_tokenizer_memory_bytes(l.block.data(), l.block.size(), &bytes), PITH_POST_OK);
  l.memory = std::make_unique<uint64_t[]>(bytes / 8 + 1);
  EXPECT_EQ(pith_tokenizer_load(l.block.data(), l.block.size(), l.memory.get(), bytes - 8, &l.t), PITH_POST_SCRATCH);
  EXPECT_EQ(pith_tokenizer_load(l.block.data(), l.block.size(), l.memory.get(), bytes, &l.t), PITH_POST_OK);
  return l;
}

std::vector<pith_text_token> tokens_of(const Loaded& l, const std::string& text, bool specials = true) {
  const size_t bytes = pith_tokenizer_scratch_bytes(l.t, text.size());
  const std::unique_ptr<uint64_t[]> scratch(new uint64_t[bytes / 8 + 1]);
  int32_t count = 0;
  EXPECT_EQ(pith_tokenize(l.t, text.data(), text.size(), specials, scratch.get(), bytes, nullptr, 0, &count), PITH_POST_OK);
  std::vector<pith_text_token> tokens(static_cast<size_t>(count));
  if (count > 1) {
    EXPECT_EQ(pith_tokenize(l.t, text.data(), text.size(), specials, scratch.get(), bytes, tokens.data(), count - 1, &count), PITH_POST_CAPACITY);
  }
  if (count > 0) {
    EXPECT_EQ(pith_tokenize(l.t, text.data(), text.size(), specials, scratch.get(), bytes, tokens.data(), count, &count), PITH_POST_OK);
  }
  return tokens;
}

// "token@begin-end ..." as the vocabulary spells them.
std::string spelled(const Loaded& l, const std::string& text, bool specials = true) {
  std::string out;
  for (const pith_text_token& t : tokens_of(l, text, specials)) {
    size_t length;
    const char* s = pith_tokenizer_token(l.t, t.id, &length);
    out += (out.empty() ? "" : "|") + std::string(s, length) + "@" + std::to_string(t.begin) + "-" + std::to_string(t.end);
  }
  return out;
}

std::string decoded(const Loaded& l, const std::vector<int32_t>& ids) {
  char text[256];
  size_t length = 0;
  EXPECT_EQ(pith_detokenize(l.t, ids.data(), static_cast<int32_t>(ids.size()), 1, text, sizeof text, &length), PITH_POST_OK);
  return std::string(text, length);
}

class TokenizerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("pith_tokenizer_" + std::to_string(reinterpret_cast<uintptr_t>(this)));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::string write(const std::string& name, const std::string& text) {
    const std::string path = (folder_ / name).string();
    EXPECT_TRUE(write_file(path, std::string_view(text)).ok());
    return path;
  }
  fs::path folder_;
};

TEST_F(TokenizerTest, WordPieces) {
  const auto t = importers::read_tokenizer(write("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nrun\n##ning\n##s\nthe\n,\ncafe\n\xe4\xb8\xad\n"));
  ASSERT_TRUE(t.ok()) << t.error().message;
  const Loaded l = load(*t);
  EXPECT_EQ(spelled(l, "The running,"), "[CLS]@0-0|the@0-3|run@4-7|##ning@7-11|,@11-12|[SEP]@0-0");
  EXPECT_EQ(spelled(l, "caf\xc3\xa9s", false), "cafe@0-5|##s@5-6");          // composed accent
  EXPECT_EQ(spelled(l, "cafe\xcc\x81s", false), "cafe@0-4|##s@6-7");          // combining accent
  EXPECT_EQ(spelled(l, "the\xe4\xb8\xadrun", false), "the@0-3|\xe4\xb8\xad@3-6|run@6-9");
  EXPECT_EQ(spelled(l, "runx the", false), "[UNK]@0-4|the@5-8");
  EXPECT_EQ(spelled(l, "th\xff" "e [MASK] ", false), "the@0-4|[MASK]@5-11");  // a malformed byte is no text
  EXPECT_EQ(spelled(l, "", true), "[CLS]@0-0|[SEP]@0-0");
  EXPECT_EQ(decoded(l, {2, 8, 5, 6, 3}), "the running");
  EXPECT_EQ(pith_tokenizer_role(l.t, PITH_TOKEN_MASK), 4);
}

TEST_F(TokenizerTest, BytePairs) {
  // all bytes but those of no use here, then merges; \u0120 is a space
  write("merges.txt", "#version: 0.2\nt h\nth e\n\xc4\xa0 the\n\xc3\xa3 \xc4\xa5\n");
  const auto t = importers::read_tokenizer(write("vocab.json",
      "{\"<s>\":0,\"</s>\":1,\"<mask>\":2,\"t\":3,\"h\":4,\"e\":5,\"\xc4\xa0\":6,\"th\":7,\"the\":8,\"\xc4\xa0the\":9,\"'\":10,\"s\":11,\"\xc3\xa3\":12,\"\xc4\xa5\":13,\"\xc3\xa3\xc4\xa5\":14,\"1\":15}"));
  ASSERT_TRUE(t.ok()) << t.error().message;
  const Loaded l = load(*t);
  EXPECT_EQ(spelled(l, "the the's  the", false), "the@0-3| the@4-7|'@7-8|s@8-9| @10-10| the@11-14");
  EXPECT_EQ(spelled(l, "the1", false), "the@0-3|1@3-4");
  EXPECT_EQ(spelled(l, "the  <mask>the"), "<s>@0-0|the@0-3|<mask>@5-11|the@11-14|</s>@0-0");
  EXPECT_EQ(decoded(l, {8, 9, 10, 11}), "the the's");
  EXPECT_LT(l.block.size(), 120u);
}

TEST_F(TokenizerTest, UnigramsTakeTheMostProbablePath) {
  const auto t = importers::read_tokenizer(write("tokenizer.json", R"({"normalizer":null,"pre_tokenizer":{"type":"Metaspace","replacement":"▁","prepend_scheme":"always","split":true},
    "post_processor":null,"added_tokens":[{"id":0,"content":"<unk>","special":true}],
    "model":{"type":"Unigram","unk_id":0,"vocab":[["<unk>",0.0],["▁",-3.0],["a",-2.0],["b",-2.5],["ab",-4.0],["▁a",-3.5],["bab",-4.25]]}})"));
  ASSERT_TRUE(t.ok()) << t.error().message;
  const Loaded l = load(*t);
  EXPECT_EQ(spelled(l, "abab"), "\xe2\x96\x81" "a@0-1|bab@1-4");
  EXPECT_EQ(spelled(l, "ab"), "\xe2\x96\x81" "a@0-1|b@1-2");
  EXPECT_EQ(spelled(l, "a zzb"), "\xe2\x96\x81" "a@0-1|\xe2\x96\x81@1-2|<unk>@2-4|b@4-5");
  EXPECT_EQ(decoded(l, {5, 3, 5}), "ab a");
}

// In 32 bits the second and third token of "aa" vanish beside the first one's score; sentencepiece's choices follow from that.
TEST_F(TokenizerTest, UnigramsOfSentencepieceAddUpInFloat) {
  auto t = importers::read_tokenizer(write("tokenizer.json", R"({"normalizer":null,"pre_tokenizer":{"type":"Metaspace","replacement":"▁","prepend_scheme":"always","split":true},
    "post_processor":null,"added_tokens":[{"id":0,"content":"<unk>","special":true}],
    "model":{"type":"Unigram","unk_id":0,"vocab":[["<unk>",0.0],["▁",-16777216.0],["a",-1.0],["aa",-1.5]]}})"));
  ASSERT_TRUE(t.ok()) << t.error().message;
  EXPECT_EQ(spelled(load(*t), "aa"), "\xe2\x96\x81@0-1|aa@0-2");
  t->flags |= kTextFloatSums;
  EXPECT_EQ(spelled(load(*t), "aa"), "\xe2\x96\x81@0-1|a@0-1|a@1-2");
}

TEST_F(TokenizerTest, ScoredPairsFallBackToBytes) {
  std::string file(4, '\0');
  const auto piece = [&](const std::string& text, float score) {
    const int32_t length = static_cast<int32_t>(text.size());
    file.append(reinterpret_cast<const char*>(&score), 4).append(reinterpret_cast<const char*>(&length), 4).append(text);
  };
  for (const char* s : {"<unk>", "\n<s>\n", "\n</s>\n"}) piece(s, 0);
  for (int b = 0; b < 256; ++b) {
    char text[8];
    std::snprintf(text, sizeof text, "<0x%02X>", static_cast<unsigned>(b));
    piece(text, 0);
  }
  piece("ab", -2), piece(" ab", -3), piece("bc", -1), piece(" ", -4), piece("a", -5), piece("b", -6), piece("c", -7);
  const auto t = importers::read_tokenizer(write("tok.bin", file));
  ASSERT_TRUE(t.ok()) << t.error().message;
  const Loaded l = load(*t);
  EXPECT_EQ(spelled(l, "ab"), "<s>@0-0|\xe2\x96\x81" "ab@0-2");
  EXPECT_EQ(spelled(l, "abc", false), "\xe2\x96\x81@0-1|a@0-1|bc@1-3");
  EXPECT_EQ(spelled(l, "\n\xc3\xa9", false), "\xe2\x96\x81@0-1|<0x0A>@0-1|<0xC3>@1-3|<0xA9>@1-3");
  EXPECT_EQ(decoded(l, {1, 260, 261, 3 + 10}), "abbc\n");
}

TEST_F(TokenizerTest, RefusesWhatItDoesNotRead) {
  const auto message = [](const Result<Tokenizer>& r) { return r.ok() ? std::string("accepted") : r.error().message; };
  EXPECT_NE(message(importers::read_tokenizer(write("tokenizer.json", "{"))).find("no JSON"), std::string::npos);
  EXPECT_NE(message(importers::read_tokenizer(write("tokenizer.json", "{}"))).find("as it should be"), std::string::npos);
  EXPECT_NE(message(importers::read_tokenizer(write("tokenizer.json", R"({"normalizer":{"type":"Precompiled"},"model":{}})"))).find("Precompiled"), std::string::npos);
  EXPECT_NE(message(importers::read_tokenizer(write("x.model", "\x0a\xff"))).find("no sentencepiece"), std::string::npos);
  EXPECT_NE(message(importers::read_tokenizer(write("x.bin", "abcdefgh"))).find("llama2.c"), std::string::npos);
  fs::create_directories(folder_ / "empty");
  EXPECT_NE(message(importers::read_tokenizer((folder_ / "empty").string())).find("has no vocabulary"), std::string::npos);
}

// Damaged blocks must be refused or load into something harmless: every truncation and many changed bytes.
TEST_F(TokenizerTest, SurvivesDamage) {
  const auto t = importers::read_tokenizer(write("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nrun\n##ning\n##s\nthe\n,\ncafe\n"));
  ASSERT_TRUE(t.ok());
  const std::vector<uint8_t> good = load(*t).block;
  const char* seed = std::getenv("PITH_SEED");
  Random random(seed != nullptr ? std::strtoull(seed, nullptr, 10) : 5);
  int loaded = 0;
  for (int round = 0; round < 3000; ++round) {
    std::vector<uint8_t> bad = good;
    if (round < static_cast<int>(good.size())) bad.resize(static_cast<size_t>(round));
    else bad[static_cast<size_t>(random.integer(0, static_cast<int64_t>(bad.size()) - 1))] ^= static_cast<uint8_t>(random.integer(1, 255));
    size_t bytes = 0;
    if (bad.empty() || pith_tokenizer_memory_bytes(bad.data(), bad.size(), &bytes) != PITH_POST_OK || bytes > (size_t{1} << 22)) continue;
    Loaded l;
    l.memory = std::make_unique<uint64_t[]>(bytes / 8 + 1);
    if (pith_tokenizer_load(bad.data(), bad.size(), l.memory.get(), bytes, &l.t) != PITH_POST_OK) continue;
    ++loaded;
    for (const pith_text_token& token : tokens_of(l, "The running \xff [MASK] caf\xc3\xa9 the,s")) EXPECT_LT(token.id, pith_tokenizer_size(l.t));
  }
  EXPECT_GT(loaded, 100);
}

}  // namespace
}  // namespace pith
