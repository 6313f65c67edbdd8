// Metadata: key-value strings (preprocessing, labels, the head's kind), coded letter by letter under the letter before.
//
// A list of labels is the largest part of a small model's structure, so it is modelled: each byte is eight adaptive bits
// in the context of the previous byte's class, and both sides first learn from a short text of typical content, so that
// even ten words cost a few bits each. The models need 37 KB, given by the caller; whoever needs no metadata (an
// executing device) never decodes it.
#pragma once

#include "coding/decode/binary.h"

namespace pith::format {

inline constexpr int kLetterContexts = 24;

struct MetadataModels {
  coding::BitModel letter[kLetterContexts][256];
  coding::IntegerModel length;
};

// Letters that behave alike share a context: 0 start, vowels and common consonants alone, digits, separators ...
inline int letter_context(uint8_t previous) {
  switch (previous | 0x20) {
    case 'a': return 1;
    case 'e': return 2;
    case 'i': return 3;
    case 'o': return 4;
    case 'u': return 5;
    case 'r': return 6;
    case 'n': return 7;
    case 't': return 8;
    case 's': return 9;
    case 'l': return 10;
    case 'c': return 11;
    case 'h': return 12;
    case 'p': case 'b': return 13;
    case 'g': case 'k': case 'q': return 14;
    case 'm': case 'd': return 15;
    default: break;
  }
  if (previous >= '0' && previous <= '9') return 16;
  if (previous == ' ' || previous == '_') return 17;
  if (previous == '\n') return 18;
  if (previous == ':' || previous == '=') return 19;
  if (previous == '.' || previous == ',' || previous == '-' || previous == '/') return 20;
  if (previous == 0) return 0;
  return previous < 128 ? (previous >= 'a' ? 21 : 22) : 23;
}

inline constexpr char kPrimer[] =
    "preprocess=image:rgb:224x224:stretch:bilinear:mean=127.5,127.5,127.5:scale=1/127.5\nhead=classifier\nlabels=\n"
    "person\nbicycle\ncar\nmotorcycle\nairplane\nbus\ntrain\nbird\ncat\ndog\nhorse\nwhite shark\nterrier\nhound\n"
    "letterbox=114:mean=0:scale=1/255\ndetector yolov5\nparameters=1000000\nsource=model\n";

// One letter through a coder with bit(BitModel&, uint32_t&).
template <typename Coder>
uint8_t code_letter(Coder& c, MetadataModels& m, uint8_t previous, uint8_t letter) {
  coding::BitModel* models = m.letter[letter_context(previous)];
  uint32_t node = 1;
  for (int i = 7; i >= 0; --i) {
    uint32_t bit = (letter >> i) & 1;
    c.bit(models[node], bit);
    node = node << 1 | bit;
  }
  return static_cast<uint8_t>(node);
}

// A coder that only teaches the models.
struct LearningCoder {
  void bit(coding::BitModel& m, uint32_t& x) { m.update(x); }
};
inline void prime(MetadataModels& m) {
  LearningCoder learn;
  uint8_t previous = 0;
  for (const char* p = kPrimer; *p; ++p) {
    code_letter(learn, m, previous, static_cast<uint8_t>(*p));
    previous = static_cast<uint8_t>(*p);
  }
}

}  // namespace pith::format
