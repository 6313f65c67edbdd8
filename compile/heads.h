// Attention head by head, instead of all heads at once.
//
// Why: with all heads in one product, queries, keys, values and a score for every pair of tokens and every head exist
// together. Heads don't know of each other: each takes its own rows of the projections' weights. Done one after the other
// they need a head's share at a time, with the same multiplications and the same bits; and one head's scores are a
// matrix whose rows can go in bands (stream.h), so that the matrix of all pairs never exists.
#pragma once

#include <optional>

#include "program/program.h"

namespace pith {

// The program with every attention (projections, scores, softmax, mixture, as Dense and MatMul over heads x tokens) done
// head by head; nothing where there is none.
std::optional<Program> split_heads(const Program& program);

}  // namespace pith
