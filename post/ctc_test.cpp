#include "post/ctc.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "post/test_random.h"

namespace pith {
namespace {

using post_test::Random;

// One step per character of `path`: '-' is the blank (label 0), 'a' label 1, ... The winner gets `peak`.
std::vector<float> steps(const std::string& path, int labels, float peak = 0.9f) {
  std::vector<float> scores(path.size() * static_cast<size_t>(labels), 0.01f);
  for (size_t t = 0; t < path.size(); ++t) {
    scores[t * static_cast<size_t>(labels) + static_cast<size_t>(path[t] == '-' ? 0 : path[t] - 'a' + 1)] = peak;
  }
  return scores;
}

std::string read(const std::string& path) {
  const std::vector<float> scores = steps(path, 5);
  const int64_t dims[3] = {1, static_cast<int64_t>(path.size()), 5};
  const pith_tensor_view view = pith_view_f32(scores.data(), 3, dims);
  const pith_ctc_params params = pith_ctc_defaults();
  std::vector<pith_ctc_symbol> symbols(path.size());
  int32_t count = -1;
  EXPECT_EQ(pith_ctc_greedy(&view, &params, symbols.data(), static_cast<int32_t>(symbols.size()), &count),
            PITH_POST_OK);
  char text[64];
  size_t length;
  EXPECT_EQ(pith_ctc_text(symbols.data(), count, 0, "abcd", text, sizeof text, &length), PITH_POST_OK);
  EXPECT_EQ(length, std::string(text).size());
  return text;
}

TEST(Ctc, ByHand) {
  EXPECT_EQ(read("aa-abb"), "aab");
  EXPECT_EQ(read("------"), "");
  EXPECT_EQ(read("a"), "a");
  EXPECT_EQ(read("abab"), "abab");
  EXPECT_EQ(read("-a--a-"), "aa");
  EXPECT_EQ(read("dddd"), "d");
}

TEST(Ctc, ScoresAndSteps) {
  // labels: a, b, blank last. Steps: a .6, a .8, blank, a .5
  const float scores[4][3] = {{0.6f, 0.1f, 0.3f}, {0.8f, 0.1f, 0.1f}, {0.1f, 0.1f, 0.8f}, {0.5f, 0.1f, 0.4f}};
  const int64_t dims[3] = {4, 1, 3};  // time first, as PyTorch has it
  const pith_tensor_view view = pith_view_at(pith_view_f32(scores[0], 3, dims), 1, 0);
  const pith_ctc_params params = {2, 0};
  pith_ctc_symbol symbols[4];
  int32_t count;
  ASSERT_EQ(pith_ctc_greedy(&view, &params, symbols, 4, &count), PITH_POST_OK);
  ASSERT_EQ(count, 2);
  EXPECT_EQ(symbols[0].label, 0);
  EXPECT_EQ(symbols[0].score, 0.8f);
  EXPECT_EQ(symbols[0].first_step, 0);
  EXPECT_EQ(symbols[0].last_step, 1);
  EXPECT_EQ(symbols[1].score, 0.5f);
  EXPECT_EQ(symbols[1].first_step, 3);
}

TEST(Ctc, LogitsBecomeProbabilities) {
  const float logits[2][3] = {{0, std::log(6.0f), 0}, {INFINITY, 0, INFINITY}};  // 6 / 8; then halves, lower label
  const int64_t dims[2] = {2, 3};
  const pith_tensor_view view = pith_view_f32(logits[0], 2, dims);
  const pith_ctc_params params = {2, 1};
  pith_ctc_symbol symbols[2];
  int32_t count;
  ASSERT_EQ(pith_ctc_greedy(&view, &params, symbols, 2, &count), PITH_POST_OK);
  ASSERT_EQ(count, 2);
  EXPECT_NEAR(symbols[0].score, 0.75f, 1e-6);
  EXPECT_EQ(symbols[1].label, 0);
  EXPECT_EQ(symbols[1].score, 0.5f);
}

TEST(Ctc, AgreesWithCollapsingOnRandomBytes) {
  Random random(60);
  for (int round = 0; round < 300; ++round) {
    const int n = random.integer(1, 40), labels = random.integer(1, 6);
    const pith_ctc_params params = {random.integer(0, labels - 1), random.integer(0, 1)};
    const std::vector<uint8_t> q = random.bytes(static_cast<size_t>(n * labels));
    const int64_t dims[2] = {n, labels};
    const pith_tensor_view view = pith_view_u8(q.data(), 2, dims, 0.01f, 7);
    std::vector<int> best, expected;
    for (int t = 0; t < n; ++t) {
      int winner = 0;
      for (int c = 1; c < labels; ++c) {
        if (q[static_cast<size_t>(t * labels + c)] > q[static_cast<size_t>(t * labels + winner)]) winner = c;
      }
      best.push_back(winner);
    }
    for (size_t t = 0; t < best.size(); ++t) {
      if (best[t] != params.blank && (t == 0 || best[t] != best[t - 1])) expected.push_back(best[t]);
    }
    std::vector<pith_ctc_symbol> symbols(static_cast<size_t>(n));
    int32_t count;
    ASSERT_EQ(pith_ctc_greedy(&view, &params, symbols.data(), n, &count), PITH_POST_OK);
    ASSERT_EQ(count, static_cast<int32_t>(expected.size())) << "round " << round;
    for (size_t i = 0; i < expected.size(); ++i) {
      ASSERT_EQ(symbols[i].label, expected[i]);
      for (int t = symbols[i].first_step; t <= symbols[i].last_step; ++t)
        ASSERT_EQ(best[static_cast<size_t>(t)], expected[i]);
    }
  }
}

TEST(Ctc, MissingNumbersAreBlanks) {
  const float scores[3][2] = {{0, 1}, {NAN, NAN}, {0, 1}};
  const int64_t dims[2] = {3, 2};
  const pith_tensor_view view = pith_view_f32(scores[0], 2, dims);
  const pith_ctc_params params = pith_ctc_defaults();
  pith_ctc_symbol symbols[3];
  int32_t count;
  ASSERT_EQ(pith_ctc_greedy(&view, &params, symbols, 3, &count), PITH_POST_OK);
  EXPECT_EQ(count, 2);
}

TEST(Ctc, TooSmallAndWrong) {
  const std::vector<float> scores = steps("abab", 5);
  const int64_t dims[2] = {4, 5};
  const pith_tensor_view view = pith_view_f32(scores.data(), 2, dims);
  pith_ctc_params params = pith_ctc_defaults();
  pith_ctc_symbol symbols[4] = {};
  int32_t count = 0;
  EXPECT_EQ(pith_ctc_greedy(&view, &params, symbols, 3, &count), PITH_POST_CAPACITY);
  EXPECT_EQ(count, 4);
  EXPECT_EQ(symbols[2].label, 1);
  EXPECT_EQ(symbols[3].label, 0);  // untouched
  EXPECT_EQ(pith_ctc_greedy(&view, &params, nullptr, 0, &count), PITH_POST_CAPACITY);
  EXPECT_EQ(count, 4);
  EXPECT_EQ(pith_ctc_greedy(&view, &params, nullptr, 1, &count), PITH_POST_NULL);
  EXPECT_EQ(pith_ctc_greedy(&view, &params, symbols, -1, &count), PITH_POST_RANGE);
  EXPECT_EQ(pith_ctc_greedy(&view, nullptr, symbols, 4, &count), PITH_POST_NULL);
  EXPECT_EQ(pith_ctc_greedy(&view, &params, symbols, 4, nullptr), PITH_POST_NULL);
  params.blank = 5;
  EXPECT_EQ(pith_ctc_greedy(&view, &params, symbols, 4, &count), PITH_POST_RANGE);
  params.blank = -1;
  EXPECT_EQ(pith_ctc_greedy(&view, &params, symbols, 4, &count), PITH_POST_RANGE);
}

pith_post_status text_of(const std::vector<int>& labels, int blank, const char* table, std::string* text,
                         size_t capacity = 64) {
  std::vector<pith_ctc_symbol> symbols;
  for (const int label : labels) symbols.push_back({label, 1.0f, 0, 0});
  std::vector<char> buffer(capacity + 1, '#');
  size_t length = 0;
  const pith_post_status status = pith_ctc_text(symbols.data(), static_cast<int32_t>(symbols.size()), blank, table,
                                                buffer.data(), capacity, &length);
  EXPECT_EQ(buffer[capacity], '#');
  *text = status == PITH_POST_OK && capacity > 0 ? std::string(buffer.data()) : std::to_string(length);
  return status;
}

TEST(CtcText, Utf8AndTheBlanksPlace) {
  std::string text;
  ASSERT_EQ(text_of({1, 2, 3, 4}, 0, "a\xc3\xa4\xe4\xba\x86\xf0\x9f\x99\x82", &text), PITH_POST_OK);
  EXPECT_EQ(text, "a\xc3\xa4\xe4\xba\x86\xf0\x9f\x99\x82");
  ASSERT_EQ(text_of({0, 1, 3}, 2, "xyz", &text), PITH_POST_OK);  // labels x, y, blank, z
  EXPECT_EQ(text, "xyz");
  ASSERT_EQ(text_of({2, 0}, 3, "xyz", &text), PITH_POST_OK);
  EXPECT_EQ(text, "zx");
  ASSERT_EQ(text_of({}, 0, "", &text), PITH_POST_OK);
  EXPECT_EQ(text, "");
}

TEST(CtcText, Refuses) {
  std::string text;
  EXPECT_EQ(text_of({1, 2}, 0, "a", &text), PITH_POST_TEXT);
  EXPECT_EQ(text_of({INT32_MAX}, 0, "a", &text), PITH_POST_TEXT);
  EXPECT_EQ(text_of({0}, 0, "a", &text), PITH_POST_RANGE);
  EXPECT_EQ(text_of({-1}, 0, "a", &text), PITH_POST_RANGE);
  EXPECT_EQ(text_of({1}, -1, "a", &text), PITH_POST_RANGE);
  for (const char* bad : {"\x80", "\xc0\x80", "\xc3", "\xe0\x80\x80", "\xed\xa0\x80", "\xf0\x80\x80\x80",
                          "\xf4\x90\x80\x80", "\xff", "\xe4\xba", "\xf0\x9f\x99"}) {
    EXPECT_EQ(text_of({1}, 0, bad, &text), PITH_POST_TEXT);
  }
  EXPECT_EQ(text_of({1, 1, 1}, 0, "a", &text, 3), PITH_POST_CAPACITY);
  EXPECT_EQ(text, "3");
  EXPECT_EQ(text_of({1, 1, 1}, 0, "a", &text, 4), PITH_POST_OK);
  EXPECT_EQ(text, "aaa");
  EXPECT_EQ(text_of({1, 1, 1}, 0, "a", &text, 0), PITH_POST_OK);  // asking for the length
  EXPECT_EQ(text, "3");
  char buffer[4];
  size_t length;
  const pith_ctc_symbol one = {1, 1.0f, 0, 0};
  EXPECT_EQ(pith_ctc_text(&one, 1, 0, nullptr, buffer, 4, &length), PITH_POST_NULL);
  EXPECT_EQ(pith_ctc_text(&one, 1, 0, "a", buffer, 4, nullptr), PITH_POST_NULL);
  EXPECT_EQ(pith_ctc_text(nullptr, 1, 0, "a", buffer, 4, &length), PITH_POST_NULL);
  EXPECT_EQ(pith_ctc_text(&one, 1, 0, "a", nullptr, 4, &length), PITH_POST_NULL);
  EXPECT_EQ(pith_ctc_text(&one, -1, 0, "a", buffer, 4, &length), PITH_POST_RANGE);
}

}  // namespace
}  // namespace pith
