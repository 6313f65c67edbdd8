// Well-known networks by structure: exact layers and sizes, seeded random weights.
//
// Why: speed, memory and energy follow from a network's structure and from where its weights are zero, not from what it
// was trained on, and the weights of these networks are not ours to ship. Every activation is 8-bit under one meaning;
// weights are ternary, zero except with probability `density`, independently. What such a network computes means nothing.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "ir/graph.h"

namespace pith::zoo {

struct StructureOptions {
  double density = 0.125;  // share of weights other than zero
  int weight_bits = 2;     // 2: -1, 0, 1; up to 8: uniform magnitudes, for networks that weren't made ternary
  uint64_t seed = 1;
};

// yolov5s (v6, 640 x 640, cut before its decoding), resnet50 (v1.5, 224 x 224), yolov3 (416 x 416, cut likewise),
// mobilenetv2 (1.0, 224 x 224), kws (DS-CNN as in MLPerf Tiny, 49 x 10, its first kernel squared), roberta (base encoder on 128 embedded tokens), roberta-mlm
// (all of RoBERTa-base, 125 M parameters: the table of 50,265 words in, the logits of one position of 128 out).
Result<ir::Graph> build_structure(const std::string& name, const StructureOptions& options = {});
std::vector<std::string> structure_names();

}  // namespace pith::zoo
