// The tokenisers of the C library for the verbs: memory that cleans up after itself.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/tokenizer.h"
#include "post/tokenizer.h"

namespace pith::cli {

class Vocabulary {
 public:
  // From the coded block, as it travels in a .pith file.
  static Result<Vocabulary> load(const std::string& block);
  // From a .pith file, or a vocabulary in any form that importers/tokenizer/tokenizer.h reads.
  static Result<Vocabulary> open(const std::string& path);

  Result<std::vector<pith_text_token>> encode(const std::string& text, bool specials) const;
  std::string decode(const std::vector<int32_t>& ids, bool skip_specials = true) const;
  std::string token(int32_t id) const;  // as it looks inside a text: "##s" as "s"
  int32_t role(pith_token_role role) const { return pith_tokenizer_role(tokenizer_, role); }
  int32_t size() const { return pith_tokenizer_size(tokenizer_); }
  size_t memory_bytes() const { return memory_bytes_; }

 private:
  std::shared_ptr<uint64_t[]> memory_;
  size_t memory_bytes_ = 0;
  pith_tokenizer* tokenizer_ = nullptr;
};

// The block of a vocabulary, as text for the metadata.
Result<std::string> coded_tokenizer(const Tokenizer& tokenizer);

}  // namespace pith::cli
