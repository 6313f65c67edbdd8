// Rows of tokens to retrain language models on, drawn from lines of text. Only in the program with libtorch.
//
// A row begins at the beginning of a line that chance picks, and mostly runs on through the lines after it, as models of text
// are trained; one in four is its line alone, as they are often used. One line in twenty is held apart.
//
//   fill-mask   some tokens are masked and asked for: as many as the form asks for, or a half or a quarter of them, each
//               then asked for several times
//   generate    every token is to be followed by the next
//   embedding   lines, one a row
#pragma once

#include "cli/language.h"
#include "ir/graph.h"
#include "train/trainer.h"

namespace pith::cli {

// `form`: input_ids, attention_mask (and mask_position), or tokens. Lines that hold no token are passed over.
Result<std::function<train::DrawnBatch(int64_t)>> text_batches(const ir::Graph& form, const Language& model, const std::vector<std::string>& lines, int64_t batch, uint64_t seed);

}  // namespace pith::cli
