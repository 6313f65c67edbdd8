// See preprocess.h: applying the recipe. Its one-line text is in preprocess_text.cpp.
#include "data/preprocess.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

namespace pith {
namespace {

FittedImage fit(const Preprocess& p, const Image& image) {
  switch (p.fit) {
    case FitRule::kLetterbox:
      return letterbox(image, p.width, p.height, p.fill, p.method);
    case FitRule::kStretch:
      return {resize(image, p.width, p.height, p.method),
              {image.width, image.height, static_cast<double>(p.width) / image.width,
               static_cast<double>(p.height) / image.height, 0, 0}};
    case FitRule::kLine:
      return fit_line(image, p.width, p.height, p.fill, p.method);
    case FitRule::kCenterCrop:
      break;
  }
  if (p.shorter == 0) return center_crop(image, p.width, p.height, p.fill);
  // The longer side rounds down, as torchvision's Resize rounds it.
  const int shorter = std::min(image.width, image.height);
  const auto scaled = [&](int side) { return static_cast<int>(int64_t{p.shorter} * side / shorter); };
  const int width = scaled(image.width), height = scaled(image.height);
  FittedImage out = center_crop(resize(image, width, height, p.method), p.width, p.height, p.fill);
  out.geometry = {image.width,
                  image.height,
                  static_cast<double>(width) / image.width,
                  static_cast<double>(height) / image.height,
                  out.geometry.pad_x,
                  out.geometry.pad_y};
  return out;
}

// Pixels to values in the wanted layout and channel order.
Array to_values(const Preprocess& p, const Image& image) {
  const int channels = p.channels();
  const size_t plane = static_cast<size_t>(p.width) * p.height;
  const bool planar = p.layout == PixelLayout::kNchw;
  Array out = make_array(ArrayType::kF32, planar ? std::vector<int64_t>{channels, p.height, p.width}
                                                 : std::vector<int64_t>{p.height, p.width, channels});
  const std::span<float> values = out.as<float>();
  for (int c = 0; c < channels; ++c) {
    const int from = p.order == ColorOrder::kBgr ? 2 - c : c;
    float table[256];
    for (int v = 0; v < 256; ++v) {
      table[v] = (static_cast<float>(v) - p.mean[static_cast<size_t>(c)]) * p.scale[static_cast<size_t>(c)];
    }
    float* to = values.data() + (planar ? static_cast<size_t>(c) * plane : static_cast<size_t>(c));
    const size_t step = planar ? 1 : static_cast<size_t>(channels);
    const uint8_t* pixel = image.pixels.data() + from;
    for (size_t i = 0; i < plane; ++i) to[i * step] = table[pixel[i * static_cast<size_t>(channels)]];
  }
  return out;
}

// A u8 array of [H,W], [H,W,1|3] or [1|3,H,W] as a picture.
std::optional<Image> as_picture(const Array& a) {
  if (a.type != ArrayType::kU8 || a.shape.size() < 2 || a.shape.size() > 3 || a.bytes.empty()) return std::nullopt;
  const auto is_channels = [](int64_t d) { return d == 1 || d == 3; };
  const bool planar = a.shape.size() == 3 && !is_channels(a.shape[2]) && is_channels(a.shape[0]);
  const int64_t channels = a.shape.size() == 2 ? 1 : a.shape[planar ? 0 : 2];
  const int64_t height = a.shape[planar ? 1 : 0], width = a.shape[planar ? 2 : 1];
  if (!is_channels(channels) || width > 32768 || height > 32768) return std::nullopt;
  Image image{static_cast<int>(width), static_cast<int>(height), static_cast<int>(channels), a.bytes};
  if (planar) {
    const size_t plane = a.bytes.size() / static_cast<size_t>(channels);
    for (size_t i = 0; i < a.bytes.size(); ++i) {
      image.pixels[i % plane * static_cast<size_t>(channels) + i / plane] = a.bytes[i];
    }
  }
  return image;
}

Result<Prepared> apply_picture_array(const Preprocess& p, const Array& array) {
  if (const auto image = as_picture(array)) return apply(p, *image);
  const int64_t channels = p.channels();
  if (array.type != ArrayType::kF32 || array.elements() != static_cast<size_t>(channels * p.width * p.height)) {
    return usage_error(fmt::format(
        "an array {} of {} is no picture; give u8 of HxWx3 or HxW, or f32 of {}x{}x{} that is already prepared",
        shape_text(array.shape), type_name(array.type), channels, p.height, p.width));
  }
  Prepared out{array, {p.width, p.height, 1, 1, 0, 0}};
  out.input.shape = p.layout == PixelLayout::kNchw ? std::vector<int64_t>{channels, p.height, p.width}
                                                   : std::vector<int64_t>{p.height, p.width, channels};
  return out;
}

Array apply_audio(const Preprocess& p, const Array& array) {
  std::vector<float> values = to_floats(array);
  if (array.type == ArrayType::kI16) {
    for (float& v : values) v /= 32768;
  }
  if (p.length > 0) values.resize(static_cast<size_t>(p.length), 0.0f);
  Array out =
      p.mfcc ? compute_mfcc(values, p.rate, *p.mfcc) : make_array({static_cast<int64_t>(values.size())}, values);
  for (float& v : out.as<float>()) v = (v - p.mean[0]) * p.scale[0];
  return out;
}

Array apply_tensor(const Preprocess& p, const Array& array) {
  const bool index = array.type == ArrayType::kI32 || array.type == ArrayType::kI64 || array.type == ArrayType::kBool;
  if (index && p.mean[0] == 0 && p.scale[0] == 1) return array;
  std::vector<float> values = to_floats(array);
  for (float& v : values) v = (v - p.mean[0]) * p.scale[0];
  return make_array(array.shape, values);
}

Array apply_tokens(const Array& array) {
  const std::vector<int64_t> values = to_integers(array);
  Array out = make_array(ArrayType::kI64, array.shape);
  std::copy(values.begin(), values.end(), out.as<int64_t>().begin());
  return out;
}

}  // namespace

Result<Prepared> apply(const Preprocess& p, const Image& image) {
  if (p.kind != InputKind::kImage) {
    return usage_error(fmt::format("a picture was given to a network that takes {}; give --preprocess image:...",
                                   format_preprocess(p)));
  }
  const FittedImage fitted = fit(p, p.order == ColorOrder::kGray ? to_gray(image) : to_rgb(image));
  return Prepared{to_values(p, fitted.image), fitted.geometry};
}

Result<Prepared> apply(const Preprocess& p, const Array& array) {
  switch (p.kind) {
    case InputKind::kImage:
      return apply_picture_array(p, array);
    case InputKind::kAudio:
      return Prepared{apply_audio(p, array), {}};
    case InputKind::kTensor:
      return Prepared{apply_tensor(p, array), {}};
    case InputKind::kTokens:
      return Prepared{apply_tokens(array), {}};
  }
  return internal_error("an input kind without a rule");
}

}  // namespace pith
