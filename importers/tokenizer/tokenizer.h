// Trained vocabularies as they are distributed -> Tokenizer.
//
//   tokenizer.json              of the library `tokenizers`: BPE, WordPiece, Unigram with the settings of BERT, GPT-2, Llama
//   vocab.json + merges.txt     GPT-2's and RoBERTa's own form
//   vocab.txt                   BERT's: one word piece a line (lower case, as its uncased models; tokenizer_config.json decides)
//   *.model                     sentencepiece: a protobuf message, read field by field
//   *.bin                       llama2.c: scores and pieces
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "base/result.h"
#include "base/tokenizer.h"

namespace pith::importers {

// A file, or a folder with one of them. Errors name the file and what isn't understood.
Result<Tokenizer> read_tokenizer(const std::string& path);
bool has_tokenizer(const std::string& folder);

// Their parts.
Result<Tokenizer> read_tokenizer_json(const std::string& path);
Result<Tokenizer> read_vocab_merges(const std::string& vocab, const std::string& merges);
Result<Tokenizer> read_vocab_txt(const std::string& path);
Result<Tokenizer> read_sentencepiece(const std::string& path);
Result<Tokenizer> read_llama2c_tokens(const std::string& path);

// GPT-2's files write bytes as printable characters; this gives the bytes back. Text with others is returned as it is.
std::string bytes_of_printable(const std::string& text);
// Pairs from lines "left right", after the tokens are there.
Result<void> add_merges(Tokenizer& t, const std::vector<std::pair<std::string, std::string>>& merges, const std::string& path);
// Roles by the names that models use: [MASK], <mask>, <s> ... where they aren't set yet.
void find_roles(Tokenizer& t);
Result<nlohmann::json> read_json(const std::string& path);

}  // namespace pith::importers
