// What must be done to a picture, a sound or a tensor before the network sees it; it travels inside the model file.
//
// Why: half of all wrong results of a deployed network are a wrong mean, colour order or resize. So the whole recipe is
// one value with one line of text, which the command line takes (--preprocess), the file keeps, and `pith info` prints:
//
//   image:rgb:640x640:letterbox=114:scale=1/255
//   image:rgb:224x224:crop=256:pil_bilinear:mean=123.675,116.28,103.53:scale=1/58.395,1/57.12,1/57.375
//   image:gray:28x28:scale=1/255        tensor        tokens
//   audio:16000x16000                   audio:16000x16000:mfcc=10:peak
//
// A value is (pixel - mean) * scale, with pixels 0..255 and in the named colour order's channels.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "data/array.h"
#include "data/image.h"
#include "data/mfcc.h"

namespace pith {

enum class InputKind : uint8_t { kImage, kAudio, kTensor, kTokens };
enum class ColorOrder : uint8_t { kRgb, kBgr, kGray };
enum class FitRule : uint8_t {
  kStretch,     // both axes to the target, aspect ignored
  kLetterbox,   // fits whole, the rest is `fill`
  kLine,        // the height fits, the width follows (squeezed where it would pass), `fill` to the right: lines of text
  kCenterCrop,  // shorter side to `shorter` pixels (0: no resize), then the middle is cut out
};
enum class PixelLayout : uint8_t { kNchw, kNhwc };

struct Preprocess {
  InputKind kind = InputKind::kTensor;
  // kind image
  int width = 0, height = 0;
  ColorOrder order = ColorOrder::kRgb;
  FitRule fit = FitRule::kStretch;
  uint8_t fill = 114;
  int shorter = 0;
  ResizeMethod method = ResizeMethod::kBilinear;
  std::array<float, 3> mean = {0, 0, 0};  // kind tensor and audio use element 0 for every value
  std::array<float, 3> scale = {1, 1, 1};
  PixelLayout layout = PixelLayout::kNchw;
  // kind audio: samples per second (0: any) and samples per window (0: as long as the file); mono, -1..1
  int rate = 0, length = 0;
  std::optional<Mfcc> mfcc;  // the features that are computed from the window; needs the rate

  int channels() const { return order == ColorOrder::kGray ? 1 : 3; }
  bool operator==(const Preprocess&) const = default;
};

// Fields after the kind may come in any order and are separated by ':'. What is left out has the default above.
//   image:  rgb|bgr|gray  WxH  stretch|letterbox[=FILL]|line[=FILL]|crop[=SHORTER]  fill=FILL  pil_bilinear|bilinear|nearest
//           mean=M[,M,M]  scale=S[,S,S] or std=D[,D,D] (scale = 1/std)  nchw|nhwc; numbers may be fractions (1/255)
//   audio:  RATExLENGTH  mfcc=COEFFICIENTS  frame=FRAME,STEP,FFT  mel=BANDS,LOW,HIGH  peak  mean= scale=
//   tensor: mean= scale=        tokens
Result<Preprocess> parse_preprocess(std::string_view text);
// Canonical and short: defaults are left out. Exact: a value that parse_preprocess gave formats and parses back to
// itself.
std::string format_preprocess(const Preprocess& p);

struct Prepared {
  Array input;        // f32 [C,H,W] or [H,W,C] for an image, without the batch axis
  Geometry geometry;  // images only
};
Result<Prepared> apply(const Preprocess& p, const Image& image);
// image: u8 [H,W], [H,W,1|3] or [1|3,H,W] is taken as a picture, f32 of the right element count as already prepared;
// audio: f32 or i16 [n] -> f32 [length], cut or padded with zeros, or its MFCC [frames, coefficients]; tensor: f32 of
// the same shape, but i32, i64 and bool stay as they are where mean and scale are the defaults (indices, masks);
// tokens: i64 of the same shape.
Result<Prepared> apply(const Preprocess& p, const Array& array);

}  // namespace pith
