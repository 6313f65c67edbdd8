// WAV files: a RIFF container of chunks, of which "fmt " (the coding) and "data" (the samples) matter. Facts:
// Microsoft's "Multimedia Programming Interface and Data Specifications 1.0", RIFF WAVE; 0xfffe is the extensible form
// of the same.
#include <fmt/format.h>

#include <algorithm>

#include "data/bytes.h"
#include "data/source.h"

namespace pith {

Result<Sound> parse_wav(std::span<const uint8_t> bytes, const std::string& name) {
  if (bytes.size() < 12 || !starts_with(bytes, "RIFF") || !starts_with(bytes.subspan(8), "WAVE")) {
    return usage_error(
        fmt::format("'{}' isn't a WAV file; convert it with: ffmpeg -i IN -ac 1 -c:a pcm_s16le OUT.wav", name));
  }
  Sound sound;
  for (size_t at = 12; at + 8 <= bytes.size();) {
    const auto head = bytes.subspan(at);
    const auto body = head.subspan(8);
    const uint32_t stated = read_le32(head, 4);
    if (starts_with(head, "fmt ")) {
      if (stated < 16 || body.size() < 16) break;
      const int coding = read_le16(body, 0), channels = read_le16(body, 2), bits = read_le16(body, 14);
      if ((coding != 1 && coding != 0xfffe) || channels != 1 || bits != 16) {
        return usage_error(
            fmt::format("'{}' has coding {}, {} channels, {} bits; convert it to 16-bit PCM mono with: "
                        "ffmpeg -i IN -ac 1 -c:a pcm_s16le OUT.wav",
                        name, coding, channels, bits));
      }
      sound.rate = static_cast<int>(std::min<uint32_t>(read_le32(body, 4), 1 << 30));
    } else if (starts_with(head, "data")) {
      if (sound.rate == 0) break;
      // Programs that write to a pipe state 0 or the largest size, meaning "to the end".
      const bool open_ended = stated == 0 || stated == 0xffffffff;
      if (!open_ended && stated > body.size()) {
        return usage_error(fmt::format("'{}' ends inside its samples; copy the file again", name));
      }
      const size_t n = (open_ended ? body.size() : stated) / 2;
      sound.samples = make_array(ArrayType::kF32, {static_cast<int64_t>(n)});
      const std::span<float> to = sound.samples.as<float>();
      for (size_t i = 0; i < n; ++i) to[i] = static_cast<float>(static_cast<int16_t>(read_le16(body, i * 2))) / 32768;
      return sound;
    }
    if (stated > body.size()) break;
    at += 8 + size_t{stated} + (stated & 1);
  }
  return usage_error(fmt::format("'{}' has no sound in it; copy or convert the file again", name));
}

}  // namespace pith
