// The one-line text of a Preprocess (see preprocess.h): parsing with errors that name the field, and the canonical
// form.
//
// Numbers are kept exactly: a value prints as the shorter of its shortest decimal form and of `1/n`, whichever parses
// back to the same float, so that 1/255 stays readable.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <charconv>
#include <cmath>
#include <optional>

#include "data/bytes.h"
#include "data/preprocess.h"

namespace pith {
namespace {

constexpr int kMaxSide = 32768, kMaxFrame = 65536;

std::vector<std::string_view> split_text(std::string_view text, char at) {
  std::vector<std::string_view> parts;
  for (;;) {
    const size_t end = text.find(at);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

std::optional<double> parse_decimal(std::string_view text) {
  double value = 0;
  const auto [rest, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (status != std::errc() || rest != text.data() + text.size()) return std::nullopt;
  return value;
}

// "3.5" or "1/255"
std::optional<float> parse_number(std::string_view text) {
  const size_t slash = text.find('/');
  const auto above = parse_decimal(text.substr(0, slash));
  const auto below = slash == std::string_view::npos ? std::optional(1.0) : parse_decimal(text.substr(slash + 1));
  if (!above || !below) return std::nullopt;
  const auto value = static_cast<float>(*above / *below);
  return std::isfinite(value) ? std::optional(value) : std::nullopt;
}

std::optional<int> parse_integer(std::string_view text, int least, int most) {
  int value = 0;
  const auto [rest, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = status == std::errc() && rest == text.data() + text.size();
  return whole && value >= least && value <= most ? std::optional(value) : std::nullopt;
}

// "AxB"
std::optional<std::pair<int, int>> parse_pair(std::string_view text, int most) {
  const auto parts = split_text(text, 'x');
  if (parts.size() != 2) return std::nullopt;
  const auto a = parse_integer(parts[0], 1, most), b = parse_integer(parts[1], 1, most);
  return a && b ? std::optional(std::pair(*a, *b)) : std::nullopt;
}

// One value for all channels, or three.
std::optional<std::array<float, 3>> parse_triple(std::string_view text, bool invert) {
  const auto parts = split_text(text, ',');
  if (parts.size() != 1 && parts.size() != 3) return std::nullopt;
  std::array<float, 3> out;
  for (size_t i = 0; i < 3; ++i) {
    const auto v = parse_number(parts[parts.size() == 1 ? 0 : i]);
    if (!v || (invert && *v == 0)) return std::nullopt;
    out[i] = invert ? static_cast<float>(1.0 / *v) : *v;
  }
  return out;
}

template <typename T, typename V>
bool assign(T& to, const std::optional<V>& value) {
  if (value) to = static_cast<T>(*value);
  return value.has_value();
}

// mean=, scale= and std=, which every kind but tokens has. nullopt: another field.
std::optional<bool> parse_value_field(Preprocess& p, std::string_view key, std::string_view value) {
  if (key == "mean") return assign(p.mean, parse_triple(value, false));
  if (key == "scale") return assign(p.scale, parse_triple(value, false));
  if (key == "std") return assign(p.scale, parse_triple(value, true));
  return std::nullopt;
}

bool parse_image_field(Preprocess& p, std::string_view key, std::string_view value) {
  const bool bare = value.empty();
  if (key == "rgb" && bare) return p.order = ColorOrder::kRgb, true;
  if (key == "bgr" && bare) return p.order = ColorOrder::kBgr, true;
  if (key == "gray" && bare) return p.order = ColorOrder::kGray, true;
  if (key == "nchw" && bare) return p.layout = PixelLayout::kNchw, true;
  if (key == "nhwc" && bare) return p.layout = PixelLayout::kNhwc, true;
  if (key == "stretch" && bare) return p.fit = FitRule::kStretch, true;
  if (key == "letterbox" || key == "line") {
    p.fit = key == "line" ? FitRule::kLine : FitRule::kLetterbox;
    return bare || assign(p.fill, parse_integer(value, 0, 255));
  }
  if (key == "fill") return assign(p.fill, parse_integer(value, 0, 255));
  if (key == "crop") {
    p.fit = FitRule::kCenterCrop;
    return bare || assign(p.shorter, parse_integer(value, 1, kMaxSide));
  }
  for (const auto method : {ResizeMethod::kPilBilinear, ResizeMethod::kBilinear, ResizeMethod::kNearest}) {
    if (key == resize_method_name(method) && bare) return p.method = method, true;
  }
  const auto size = parse_pair(key, kMaxSide);
  if (size && bare) std::tie(p.width, p.height) = *size;
  return size && bare;
}

// Three positive whole numbers, "480,320,512".
bool parse_three(std::string_view text, int& a, int& b, int& c) {
  const auto parts = split_text(text, ',');
  if (parts.size() != 3) return false;
  return assign(a, parse_integer(parts[0], 1, kMaxFrame)) && assign(b, parse_integer(parts[1], 1, kMaxFrame)) &&
         assign(c, parse_integer(parts[2], 1, kMaxFrame));
}

bool parse_audio_field(Preprocess& p, std::string_view key, std::string_view value) {
  Mfcc m = p.mfcc.value_or(Mfcc{});
  bool good = false;
  if (key == "mfcc") {
    good = value.empty() || assign(m.coefficients, parse_integer(value, 1, kMaxFrame));
  } else if (key == "frame") {
    good = parse_three(value, m.frame, m.step, m.fft);
  } else if (key == "mel") {
    int low = 0, high = 0;
    good = parse_three(value, m.bands, low, high);
    m.low = static_cast<float>(low), m.high = static_cast<float>(high);
  } else if (key == "peak") {
    good = m.peak = value.empty();
  } else {
    const auto size = parse_pair(key, 1 << 28);
    if (size && value.empty()) std::tie(p.rate, p.length) = *size;
    return size && value.empty();
  }
  p.mfcc = m;
  return good;
}

// What the fields say together; the empty string where it is possible.
std::string_view contradiction(const Preprocess& p) {
  if (p.kind == InputKind::kImage && p.width == 0) return "lacks the size; add a field such as 224x224";
  if (!p.mfcc) return "";
  const Mfcc& m = *p.mfcc;
  if (p.rate == 0) return "lacks the rate that mfcc needs; add a field such as 16000x16000";
  if ((m.fft & (m.fft - 1)) != 0 || m.fft < m.frame)
    return "has an FFT that is no power of two or shorter than the frame";
  if (m.coefficients > m.bands) return "has more coefficients than bands; lower mfcc= or raise mel='s first number";
  if (m.low >= m.high) return "has bands from high to low; order mel=BANDS,LOW,HIGH";
  if (p.length < m.frame) return "has a window shorter than a frame; lengthen it or shorten frame=";
  return "";
}

void format_audio(const Preprocess& p, std::vector<std::string>& fields) {
  if (p.rate != 0) fields.push_back(fmt::format("{}x{}", p.rate, p.length));
  if (!p.mfcc) return;
  const Mfcc &m = *p.mfcc, plain;
  fields.push_back(fmt::format("mfcc={}", m.coefficients));
  if (m.frame != plain.frame || m.step != plain.step || m.fft != plain.fft) {
    fields.push_back(fmt::format("frame={},{},{}", m.frame, m.step, m.fft));
  }
  if (m.bands != plain.bands || m.low != plain.low || m.high != plain.high) {
    fields.push_back(fmt::format("mel={},{},{}", m.bands, m.low, m.high));
  }
  if (m.peak) fields.emplace_back("peak");
}

std::string number_text(float v) {
  std::string plain = fmt::format("{}", v);
  for (int digits = 1; v != 0 && digits <= 7; ++digits) {
    std::string fraction = fmt::format("1/{:.{}g}", 1.0 / v, digits);
    if (parse_number(fraction) == v) return fraction.size() < plain.size() ? fraction : plain;
  }
  return plain;
}

std::string triple_text(const std::array<float, 3>& v) {
  if (v[0] == v[1] && v[1] == v[2]) return number_text(v[0]);
  return fmt::format("{},{},{}", number_text(v[0]), number_text(v[1]), number_text(v[2]));
}

void format_image(const Preprocess& p, std::vector<std::string>& fields) {
  const Preprocess plain;
  fields.push_back(p.order == ColorOrder::kRgb ? "rgb" : p.order == ColorOrder::kBgr ? "bgr" : "gray");
  fields.push_back(fmt::format("{}x{}", p.width, p.height));
  if (p.fit == FitRule::kLetterbox) fields.push_back(fmt::format("letterbox={}", p.fill));
  if (p.fit == FitRule::kLine) fields.push_back(fmt::format("line={}", p.fill));
  if (p.fit == FitRule::kCenterCrop) fields.push_back(p.shorter ? fmt::format("crop={}", p.shorter) : "crop");
  if (p.fit != FitRule::kLetterbox && p.fit != FitRule::kLine && p.fill != plain.fill) fields.push_back(fmt::format("fill={}", p.fill));
  if (p.method != plain.method) fields.emplace_back(resize_method_name(p.method));
}

}  // namespace

Result<Preprocess> parse_preprocess(std::string_view text) {
  const auto fields = split_text(text, ':');
  Preprocess p;
  const auto known = fields[0] == "image"    ? std::optional(InputKind::kImage)
                     : fields[0] == "audio"  ? std::optional(InputKind::kAudio)
                     : fields[0] == "tensor" ? std::optional(InputKind::kTensor)
                     : fields[0] == "tokens" ? std::optional(InputKind::kTokens)
                                             : std::nullopt;
  if (!known) {
    return usage_error(fmt::format(
        "preprocessing '{}' is of no known kind; begin with image:, audio:, tensor or tokens", printable(text)));
  }
  p.kind = *known;
  for (size_t i = 1; i < fields.size(); ++i) {
    const size_t equals = fields[i].find('=');
    const std::string_view key = fields[i].substr(0, equals);
    const std::string_view value = equals == std::string_view::npos ? "" : fields[i].substr(equals + 1);
    auto good = p.kind == InputKind::kTokens ? std::optional(false) : parse_value_field(p, key, value);
    if (!good && p.kind == InputKind::kImage) good = parse_image_field(p, key, value);
    if (!good && p.kind == InputKind::kAudio) good = parse_audio_field(p, key, value);
    if (good != true || (equals != std::string_view::npos && value.empty())) {
      return usage_error(fmt::format("preprocessing field '{}' isn't understood; see --help for the fields of {}",
                                     printable(fields[i]), fields[0]));
    }
  }
  if (const std::string_view wrong = contradiction(p); !wrong.empty()) {
    return usage_error(fmt::format("preprocessing '{}' {}", printable(text), wrong));
  }
  return p;
}

std::string format_preprocess(const Preprocess& p) {
  constexpr std::string_view kKinds[] = {"image", "audio", "tensor", "tokens"};
  const Preprocess plain;
  std::vector<std::string> fields = {std::string(kKinds[static_cast<size_t>(p.kind)])};
  if (p.kind == InputKind::kImage) format_image(p, fields);
  if (p.kind == InputKind::kAudio) format_audio(p, fields);
  if (p.mean != plain.mean) fields.push_back("mean=" + triple_text(p.mean));
  if (p.scale != plain.scale) fields.push_back("scale=" + triple_text(p.scale));
  if (p.layout != plain.layout) fields.push_back("nhwc");
  return fmt::format("{}", fmt::join(fields, ":"));
}

}  // namespace pith
