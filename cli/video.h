// Frames of a video, one after the other, as pictures: what a camera would have given the network.
//
//   .y4m                 YUV4MPEG2 as `ffmpeg -i IN OUT.y4m` writes it: 4:2:0 or gray, 8 bits, progressive
//   .nv12 .i420 .yuv     raw frames without a header (.yuv is I420); --frame-size says how large
//
// Conversion to RGB is post/frame.h's: integers, rounded once. The range follows the stream's XCOLORRANGE (limited where
// it says nothing); which matrix was used is no tag of the format, so it is BT.709 from 720 lines on and BT.601 below, as
// players do, unless --colour says otherwise.
#pragma once

#include <cstdint>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "data/image.h"
#include "post/frame.h"

namespace CLI {
class App;
}

namespace pith::cli {

struct VideoFlags {
  std::string frames, size, colour = "auto";
};
void add_video_flags(CLI::App* verb, VideoFlags& flags);

bool is_video_name(std::string_view path);

enum class Chroma { kPlanes, kAlternating, kNone };  // I420, NV12, gray

struct VideoFormat {
  int width = 0, height = 0;  // even, at most 2^14
  Chroma chroma = Chroma::kPlanes;
  bool full_range = false;
};
// The first line of a .y4m file, without its end. Errors (kUsage) begin with `name`.
Result<VideoFormat> parse_y4m_header(std::string_view line, const std::string& name);

// Which frames: "20" the first 20, "10:20" those from 10 to 19, "::5" every fifth.
struct FrameRange {
  int64_t first = 0, end = INT64_MAX, step = 1;
};
Result<FrameRange> parse_frames(const std::string& text);

class Video {
 public:
  static Result<Video> open(const std::string& path, const VideoFlags& flags);

  struct Frame {
    int64_t index = 0;
    Image image;
  };
  // The next frame of those asked for; none at the end. Errors (kUsage) name the frame that is cut short or malformed.
  Result<std::optional<Frame>> next();

 private:
  Result<bool> header();  // of a frame; false at the file's end
  Error cut_short() const;
  Image convert();
  size_t frame_bytes() const;

  std::string path_;
  std::ifstream in_;
  bool raw_ = false;
  VideoFormat format_;
  pith_frame_options options_{};
  FrameRange range_;
  int64_t index_ = 0;
  std::vector<uint8_t> bytes_;
  std::vector<uint64_t> memory_;  // of post/frame.h
};

}  // namespace pith::cli
