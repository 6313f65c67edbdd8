// Vocabularies of each kind lose tokens: texts whose tokens stay are read as before by the C library, others without unknowns; and the
// tables of a network lose the same rows.
#include "macro/prune_tokens.h"

#include <memory>
#include <set>
#include <string>

#include "coding/encode/tokenizer.h"
#include "ir/test_graph.h"
#include "macro/prune_vocabulary.h"
#include "post/tokenizer.h"

namespace pith {
namespace {

struct Read {
  std::string token;
  uint32_t begin = 0, end = 0;
  friend bool operator==(const Read&, const Read&) = default;
};

// Texts as a tokeniser reads them, through the coder and the C library.
class Reader {
 public:
  explicit Reader(const Tokenizer& t) {
    const auto block = coding::encode_tokenizer(t);
    EXPECT_TRUE(block.ok());
    size_t bytes = 0;
    EXPECT_EQ(pith_tokenizer_memory_bytes(block->data(), block->size(), &bytes), PITH_POST_OK);
    memory_ = std::make_unique<uint64_t[]>(bytes / 8 + 1);
    EXPECT_EQ(pith_tokenizer_load(block->data(), block->size(), memory_.get(), bytes, &t_), PITH_POST_OK);
  }
  std::vector<pith_text_token> ids(const std::string& text) const {
    const size_t bytes = pith_tokenizer_scratch_bytes(t_, text.size());
    const std::unique_ptr<uint64_t[]> scratch(new uint64_t[bytes / 8 + 1]);
    std::vector<pith_text_token> tokens(3 * text.size() + 16);
    int32_t count = 0;
    EXPECT_EQ(pith_tokenize(t_, text.data(), text.size(), 1, scratch.get(), bytes, tokens.data(), static_cast<int32_t>(tokens.size()), &count), PITH_POST_OK);
    tokens.resize(static_cast<size_t>(count));
    return tokens;
  }
  std::vector<Read> read(const std::string& text) const {
    std::vector<Read> all;
    for (const pith_text_token& t : ids(text)) {
      size_t length = 0;
      const char* spelled = pith_tokenizer_token(t_, t.id, &length);
      all.push_back({std::string(spelled, length), t.begin, t.end});
    }
    return all;
  }

 private:
  std::unique_ptr<uint64_t[]> memory_;
  pith_tokenizer* t_ = nullptr;
};

// 150 tokens over four letters, each joined out of two earlier ones.
Tokenizer random_vocabulary(TokenModel model, Random& random) {
  Tokenizer t;
  t.model = model;
  t.tokens = {"<unk>", "<s>"};
  t.unknown = 0, t.begin = 1;
  t.before = {1};
  if (model == TokenModel::kBytePairs) {
    t.flags = kTextByteLevel;
    for (int b = 0; b < 256; ++b) t.tokens.push_back(std::string(1, static_cast<char>(b)));
  } else {
    for (const char* letter : {"a", "b", "c", "d"}) t.tokens.push_back(letter);
    if (model == TokenModel::kWordPieces) {
      for (const char* letter : {"##a", "##b", "##c", "##d"}) t.tokens.push_back(letter);
      t.flags = kTextSplitSpaces;
    }
  }
  std::vector<uint32_t> usable;
  for (uint32_t id = 2; id < t.tokens.size(); ++id) {
    const std::string& s = t.tokens[id];
    if (s.find_first_not_of("abcd#") == std::string::npos && s != "#") usable.push_back(id);
  }
  const auto any = [&] { return usable[static_cast<size_t>(random.integer(0, static_cast<int64_t>(usable.size()) - 1))]; };
  std::set<std::string> known(t.tokens.begin(), t.tokens.end());
  const size_t wanted = t.tokens.size() + 150;
  while (t.tokens.size() < wanted) {
    const uint32_t left = any(), right = any();
    const bool inside = t.tokens[right].starts_with("##");
    const std::string joined = t.tokens[left] + (inside ? t.tokens[right].substr(2) : t.tokens[right]);
    if ((model == TokenModel::kWordPieces && !inside) || joined.size() > 12 || !known.insert(joined).second) continue;
    usable.push_back(static_cast<uint32_t>(t.tokens.size()));
    if (model == TokenModel::kBytePairs) t.pairs.push_back({left, right, usable.back()});
    t.tokens.push_back(joined);
  }
  for (size_t i = 0; i < t.tokens.size() && (model == TokenModel::kUnigrams || model == TokenModel::kScoredPairs); ++i) t.scores.push_back(-static_cast<double>(random.integer(0, 40) + (t.tokens[i].size() == 1 ? 40 : 0)) / 4);
  t.added = {{0, false, false, true, true}, {1, false, false, true, true}};
  return t;
}

std::string random_text(Random& random, const std::string& letters) {
  std::string text;
  for (int64_t i = random.integer(1, 14); i > 0; --i) text += letters[static_cast<size_t>(random.integer(0, static_cast<int64_t>(letters.size()) - 1))];
  return text;
}

TEST(PruneTokens, KeptTextsAreReadAsBefore) {
  Random random(ir::test_seed());
  int same = 0, different = 0;
  for (TokenModel model : {TokenModel::kBytePairs, TokenModel::kWordPieces, TokenModel::kUnigrams, TokenModel::kScoredPairs}) {
    const Tokenizer t = random_vocabulary(model, random);
    const Reader before(t);
    std::vector<double> counts(t.tokens.size(), 0);
    for (int i = 0; i < 100; ++i) {
      for (const pith_text_token& token : before.ids(random_text(random, "abcd"))) counts[static_cast<size_t>(token.id)] += 1;
    }
    const auto all = choose_tokens(t, counts, static_cast<int64_t>(t.tokens.size()));
    ASSERT_TRUE(all.ok());
    EXPECT_EQ(all->kept.size(), t.tokens.size());
    const int64_t most = all->required + 10;
    const auto choice = choose_tokens(t, counts, most);
    ASSERT_TRUE(choice.ok()) << choice.error().message;
    EXPECT_LE(static_cast<int64_t>(choice->kept.size()), most);
    EXPECT_GT(choice->covered, 0.2);
    EXPECT_LE(choice->covered, 1);
    const Reader after(cut_tokenizer(t, choice->kept));
    for (int i = 0; i < 2000; ++i) {
      const std::string text = random_text(random, i % 2 == 0 ? "abcd" : "abcde");
      bool all_kept = true, unknown = false;
      for (const pith_text_token& token : before.ids(text)) {
        all_kept = all_kept && std::binary_search(choice->kept.begin(), choice->kept.end(), static_cast<uint32_t>(token.id));
        unknown = unknown || token.id == t.unknown;
      }
      const std::vector<Read> read = after.read(text);
      if (all_kept) {
        EXPECT_EQ(read, before.read(text)) << text << " kind " << static_cast<int>(model);
      }
      if (!unknown) {
        EXPECT_TRUE(std::none_of(read.begin(), read.end(), [](const Read& r) { return r.token == "<unk>"; })) << text;
      }
      (all_kept ? same : different) += 1;
    }
  }
  EXPECT_GT(same, 100);
  EXPECT_GT(different, 100);
}

TEST(PruneTokens, WhatEveryTextNeedsStays) {
  Tokenizer t;
  t.tokens = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[unused0]", "a", "##a", "b", "##b", "ab", "##ba", "\xc3\xa9", "\xc3\xa9" "a"};
  t.unknown = 1, t.padding = 0, t.begin = 2, t.end = 3;
  t.before = {2}, t.after = {3};
  const auto choice = choose_tokens(t, {0, 0, 9, 9, 0, 1, 0, 0, 0, 0, 3}, 12);
  ASSERT_TRUE(choice.ok());
  // "éa" holds a character that has no token inside words; of those that may go, "##ba" is read, "ab" comes before the unused one
  EXPECT_EQ(choice->kept, (std::vector<uint32_t>{0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12}));
  EXPECT_EQ(choice->required, 10);
  EXPECT_EQ(choose_tokens(t, {}, 11)->kept, (std::vector<uint32_t>{0, 1, 2, 3, 5, 6, 7, 8, 9, 11, 12}));
  const auto refused = choose_tokens(t, {}, 9);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::kDoesNotFit);
  EXPECT_NE(refused.error().message.find("10 tokens must stay"), std::string::npos);
}

// Ids [1, 3] -> rows of a table; their last one times the same or another table's rows -> logits.
ir::Graph network(Random& random, bool tied) {
  ir::Graph g;
  g.name = "net";
  ir::Value ids;
  ids.name = "ids", ids.dtype = ir::DType::kI64, ids.shape = {1, 3};
  g.inputs = {g.add_value(ids)};
  const ir::ValueId table = g.add_constant("table", ir::random_f32(random, {10, 4})), head = tied ? table : g.add_constant("head", ir::random_f32(random, {10, 4}));
  const ir::ValueId rows = ir::append_node(g, ir::Op::kGather, {table, g.inputs[0]}, {{"axis", int64_t{0}}});
  const ir::ValueId flat = ir::append_node(g, ir::Op::kReshape, {rows}, {{"shape", ir::Ints{3, 4}}});
  const ir::ValueId logits = ir::append_node(g, ir::Op::kGemm, {flat, head, g.add_constant("bias", ir::random_f32(random, {10}))}, {{"transB", int64_t{1}}});
  g.outputs = {ir::append_node(g, ir::Op::kReshape, {logits}, {{"shape", ir::Ints{1, 3, 10}}})};
  return g;
}

TEST(PruneVocabulary, LogitsOfKeptTokensAreWhatTheyWere) {
  Random random(ir::test_seed());
  for (bool tied : {true, false}) {
    const ir::Graph whole = network(random, tied);
    ir::Graph g = whole;
    const std::vector<uint32_t> kept = {0, 2, 3, 7, 9};
    const auto cut = cut_vocabulary(g, kept);
    ASSERT_TRUE(cut.ok()) << cut.error().message;
    EXPECT_EQ(cut->bytes, 4 * 5 * (tied ? 5 : 9));
    EXPECT_EQ(cut->macs, 3 * 4 * 5);
    const auto expected = ir::interpret(whole, {ir::Tensor::i64({1, 3}, {9, 2, 7})}), got = ir::interpret(g, {ir::Tensor::i64({1, 3}, {4, 1, 3})});
    ASSERT_TRUE(expected.ok() && got.ok());
    ASSERT_EQ((*got)[0].shape(), (ir::Shape{1, 3, 5}));
    for (int64_t r = 0; r < 3; ++r) {
      for (int64_t k = 0; k < 5; ++k) EXPECT_FLOAT_EQ(static_cast<float>((*got)[0].at(r * 5 + k)), static_cast<float>((*expected)[0].at(r * 10 + kept[static_cast<size_t>(k)])));
    }
  }
}

TEST(PruneVocabulary, RefusesTablesThatAreReadOtherwise) {
  Random random(ir::test_seed());
  ir::Graph g = network(random, true), none = g;
  EXPECT_FALSE(cut_vocabulary(g, {0, 10}).ok());
  const ir::ValueId table = token_table(g);
  g.outputs.push_back(ir::append_node(g, ir::Op::kRelu, {table}));
  const auto refused = cut_vocabulary(g, {0, 1});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::kUnsupported);
  none.nodes[0].inputs[1] = none.add_constant("fixed", ir::Tensor::i64({1, 3}, {0, 1, 2}));
  EXPECT_FALSE(cut_vocabulary(none, {0, 1}).ok());
}

}  // namespace
}  // namespace pith
