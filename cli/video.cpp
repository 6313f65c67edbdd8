#include "cli/video.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

#include "data/bytes.h"

namespace pith::cli {
namespace {

constexpr int kMostSide = 1 << 14;
constexpr size_t kMostLine = 1024;  // of a header

std::string lower_case(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return std::tolower(c); });
  return out;
}

std::optional<int64_t> whole(std::string_view text) {
  int64_t value = 0;
  const auto [rest, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (status != std::errc() || rest != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

Result<void> check_size(const VideoFormat& f, const std::string& name) {
  if (f.width < 2 || f.height < 2 || f.width > kMostSide || f.height > kMostSide)
    return usage_error(fmt::format("'{}': frames of {} x {} pixels; a side has 2 to {}", name, f.width, f.height, kMostSide));
  if (f.width % 2 != 0 || f.height % 2 != 0)
    return usage_error(fmt::format("'{}': frames of {} x {} pixels; sides must be even, crop it with: ffmpeg -i IN -vf crop={}:{} OUT.y4m", name, f.width,
                                   f.height, f.width / 2 * 2, f.height / 2 * 2));
  return {};
}

Result<Chroma> chroma_of(std::string_view tag, const std::string& name) {
  for (const char* known : {"420", "420jpeg", "420mpeg2", "420paldv"}) {
    if (tag == known) return Chroma::kPlanes;
  }
  if (tag == "mono") return Chroma::kNone;
  return usage_error(fmt::format("'{}': colour format '{}' isn't read; convert it with: ffmpeg -i IN -pix_fmt yuv420p OUT.y4m", name, printable(tag)));
}

Result<pith_frame_colour> colour_of(const std::string& flag, const VideoFormat& f) {
  if (flag == "auto") {
    const bool high = f.height >= 720;
    if (f.full_range) return high ? PITH_FRAME_BT709_FULL : PITH_FRAME_JPEG;
    return high ? PITH_FRAME_BT709 : PITH_FRAME_BT601;
  }
  constexpr std::array<std::pair<const char*, pith_frame_colour>, 4> kNames = {
      {{"bt601", PITH_FRAME_BT601}, {"bt709", PITH_FRAME_BT709}, {"bt601-full", PITH_FRAME_JPEG}, {"bt709-full", PITH_FRAME_BT709_FULL}}};
  for (const auto& [name, colour] : kNames) {
    if (flag == name) return colour;
  }
  return usage_error(fmt::format("unknown --colour '{}'; choose auto, bt601, bt709, bt601-full or bt709-full", flag));
}

Result<VideoFormat> raw_format(const std::string& path, const std::string& size) {
  const size_t cross = size.find('x');
  if (cross == std::string::npos) return usage_error(fmt::format("'{}' has no header; say how large its frames are: --frame-size 640x480", path));
  const auto width = whole(std::string_view(size).substr(0, cross)), height = whole(std::string_view(size).substr(cross + 1));
  if (!width || !height || *width > kMostSide || *height > kMostSide) return usage_error(fmt::format("--frame-size '{}' is no size; write 640x480", printable(size)));
  VideoFormat f;
  f.width = static_cast<int>(*width), f.height = static_cast<int>(*height);
  f.chroma = lower_case(path).ends_with(".nv12") ? Chroma::kAlternating : Chroma::kPlanes;
  PITH_CHECK_OK(check_size(f, path));
  return f;
}

// A line up to its end, which is taken; nothing where the file ends before anything or the line is too long.
std::optional<std::string> read_line(std::istream& in) {
  std::string line;
  for (int c = in.get(); c != std::char_traits<char>::eof(); c = in.get()) {
    if (c == '\n') return line;
    if (line.size() == kMostLine) return std::nullopt;
    line += static_cast<char>(c);
  }
  return std::nullopt;
}

// Where post/frame.h finds a frame's lines.
struct Lines {
  const uint8_t* bytes;
  const VideoFormat& format;

  static int read(void* context, int32_t plane, int32_t line, uint8_t* to) {
    const Lines& l = *static_cast<const Lines*>(context);
    const size_t width = static_cast<size_t>(l.format.width), luma = width * static_cast<size_t>(l.format.height), at = static_cast<size_t>(line);
    if (plane == 0) {
      std::memcpy(to, l.bytes + at * width, width);
    } else if (l.format.chroma == Chroma::kNone) {
      std::memset(to, 128, width);
    } else if (l.format.chroma == Chroma::kAlternating) {
      std::memcpy(to, l.bytes + luma + at * width, width);
    } else {
      const uint8_t* u = l.bytes + luma + at * (width / 2);
      for (size_t i = 0; i < width / 2; ++i) to[2 * i] = u[i], to[2 * i + 1] = u[luma / 4 + i];
    }
    return 0;
  }
};

}  // namespace

void add_video_flags(CLI::App* verb, VideoFlags& flags) {
  verb->add_option("--frames", flags.frames, "of a video: 20 = the first 20, 10:20 = from 10 to 19, ::5 = every fifth");
  verb->add_option("--frame-size", flags.size, "of raw frames (.nv12, .i420, .yuv): WIDTHxHEIGHT");
  verb->add_option("--colour", flags.colour, "what a video's YUV means: auto, bt601, bt709, bt601-full or bt709-full")->capture_default_str();
}

bool is_video_name(std::string_view path) {
  const std::string name = lower_case(path);
  return name.ends_with(".y4m") || name.ends_with(".nv12") || name.ends_with(".i420") || name.ends_with(".yuv");
}

Result<VideoFormat> parse_y4m_header(std::string_view line, const std::string& name) {
  if (!line.starts_with("YUV4MPEG2 ")) return usage_error(fmt::format("'{}' doesn't begin as a .y4m file does; make one with: ffmpeg -i IN OUT.y4m", name));
  VideoFormat f;
  for (size_t at = 10; at < line.size();) {
    const size_t end = std::min(line.find(' ', at), line.size());
    const std::string_view tag = line.substr(at, end - at), value = tag.substr(std::min<size_t>(1, tag.size()));
    at = end + 1;
    if (tag.empty()) continue;
    if (tag[0] == 'W' || tag[0] == 'H') {
      const auto side = whole(value);
      if (!side || *side > kMostSide) return usage_error(fmt::format("'{}': '{}' is no size of a frame; a side has 2 to {}", name, printable(tag), kMostSide));
      (tag[0] == 'W' ? f.width : f.height) = static_cast<int>(*side);
    } else if (tag[0] == 'C') {
      PITH_TRY(f.chroma, chroma_of(value, name));
    } else if (tag[0] == 'I' && value != "p" && value != "?") {
      return usage_error(fmt::format("'{}' is interlaced; make whole frames of it with: ffmpeg -i IN -vf yadif OUT.y4m", name));
    } else if (tag == "XCOLORRANGE=FULL") {
      f.full_range = true;
    }
  }
  PITH_CHECK_OK(check_size(f, name));
  return f;
}

Result<FrameRange> parse_frames(const std::string& text) {
  FrameRange range;
  if (text.empty()) return range;
  std::vector<std::string_view> parts;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find(':', at), text.size());
    parts.push_back(std::string_view(text).substr(at, end - at));
    at = end + 1;
  }
  bool good = parts.size() <= 3;
  const auto take = [&](size_t i, int64_t& field) {
    if (i >= parts.size() || parts[i].empty()) return;
    const auto value = whole(parts[i]);
    good = good && value.has_value();
    field = value.value_or(0);
  };
  if (parts.size() == 1) {
    take(0, range.end);
  } else {
    take(0, range.first), take(1, range.end), take(2, range.step);
  }
  if (!good || range.step < 1 || range.first >= range.end)
    return usage_error(fmt::format("--frames '{}' names no frames; write 20, 10:20 or 0:100:5", printable(text)));
  return range;
}

Result<Video> Video::open(const std::string& path, const VideoFlags& flags) {
  Video v;
  v.path_ = path;
  PITH_TRY(v.range_, parse_frames(flags.frames));
  v.in_.open(path, std::ios::binary);
  if (!v.in_) return usage_error(fmt::format("can't read '{}'; check the path", path));
  v.raw_ = !lower_case(path).ends_with(".y4m");
  if (v.raw_) {
    PITH_TRY(v.format_, raw_format(path, flags.size));
  } else {
    if (!flags.size.empty()) return usage_error(fmt::format("'{}' says itself how large its frames are; leave --frame-size out", path));
    PITH_TRY(v.format_, parse_y4m_header(read_line(v.in_).value_or(""), path));
  }
  pith_frame_options& o = v.options_;
  o.format = PITH_FRAME_NV12;
  o.width = v.format_.width, o.height = v.format_.height;
  o.fit = {o.width, o.height, o.width, o.height, o.width, o.height, 0, 0};
  PITH_TRY(o.colour, colour_of(flags.colour, v.format_));
  v.memory_.resize(pith_frame_bytes(&o) / sizeof(uint64_t) + 1);
  v.bytes_.resize(v.frame_bytes());
  return v;
}

size_t Video::frame_bytes() const {
  const size_t luma = static_cast<size_t>(format_.width) * static_cast<size_t>(format_.height);
  return format_.chroma == Chroma::kNone ? luma : luma / 2 * 3;
}

Error Video::cut_short() const {
  return usage_error(raw_ ? fmt::format("'{}' ends inside frame {}; is --frame-size {}x{} right?", path_, index_, format_.width, format_.height)
                          : fmt::format("'{}' ends inside frame {}; copy it again", path_, index_));
}

Result<bool> Video::header() {
  if (in_.peek() == std::ifstream::traits_type::eof()) return false;
  if (raw_) return true;
  const std::optional<std::string> line = read_line(in_);
  if (!line || (*line != "FRAME" && !line->starts_with("FRAME ")))
    return usage_error(fmt::format("'{}': frame {} doesn't begin with FRAME; the file is damaged, make it again", path_, index_));
  return true;
}

Image Video::convert() {
  Lines lines{bytes_.data(), format_};
  pith_frame* frame = nullptr;
  Image image = make_image(format_.width, format_.height, 3);
  if (pith_frame_open(&options_, memory_.data(), memory_.size() * sizeof(uint64_t), &Lines::read, &lines, &frame) != PITH_POST_OK) std::abort();  // sizes were checked
  pith_frame_restart(frame);
  pith_frame_rows(frame, 0, 0, format_.height, image.pixels.data());
  return image;
}

Result<std::optional<Video::Frame>> Video::next() {
  for (; index_ < range_.end; ++index_) {
    PITH_TRY(const bool more, header());
    if (!more) return std::optional<Frame>();
    in_.read(reinterpret_cast<char*>(bytes_.data()), static_cast<std::streamsize>(bytes_.size()));
    if (static_cast<size_t>(in_.gcount()) != bytes_.size()) return cut_short();
    if (index_ < range_.first || (index_ - range_.first) % range_.step != 0) continue;
    return std::optional<Frame>(Frame{index_++, convert()});
  }
  return std::optional<Frame>();
}

}  // namespace pith::cli
