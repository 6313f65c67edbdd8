// Small sound files of every format that fuzz_files reads, and sound streams of every code that fuzz_codes decodes: where
// both begin. The first byte chooses the format.
#pragma once

#include <cstdint>
#include <vector>

namespace pith::fuzz {

enum class FileKind { kSafetensors, kTorchArchive, kTokenizerJson, kVocabulary, kSentencepiece, kLlama2c, kNpy, kWav, kPnm, kVideo, kFrames, kPreprocess, kCount };

std::vector<std::vector<uint8_t>> seed_files();
std::vector<std::vector<uint8_t>> seed_codes();

}  // namespace pith::fuzz
