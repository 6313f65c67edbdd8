// Boxes and labels on pictures (see image.h), with a small bitmap font drawn for this file: 5 x 7 capitals, one more
// row for descenders, in cells of 6 x 9 pixels.
#include <algorithm>
#include <string_view>

#include "data/image.h"

namespace pith {
namespace {

// ASCII 32..126, sixteen glyphs to a band of eight rows; a glyph is five columns wide and one column from the next.
constexpr int kBand = 16, kRows = 8, kColumns = 5;
// clang-format off
constexpr std::string_view kFont[6][kRows] = {
    {  //   ! " # $ % & ' ( ) * + , - . /
        "        #    # #   # #    #   ##  #  ##     #      #   #                                      #",
        "        #    # #   # #   #### ##  # #  #    #     #     #   # # #   #                         #",
        "        #    # #  ##### # #      #  #  #    #    #       #   ###    #                        # ",
        "        #          # #   ###    #    ##          #       #  ##### #####       #####         #  ",
        "        #         #####   # #  #    # # #        #       #   ###    #                      #   ",
        "                   # #  ####  #  ## #  #          #     #   # # #   #    ##          ##   #    ",
        "        #          # #    #   #  ##  ## #          #   #                 ##          ##   #    ",
        "                                                                         #                     ",
    },
    {  // 0 1 2 3 4 5 6 7 8 9 : ; < = > ?
        " ###    #    ###   ###     #  #####  ###  #####  ###   ###                 #        #      ### ",
        "#   #  ##   #   # #   #   ##  #     #         # #   # #   #  ##    ##     #          #    #   #",
        "#  ##   #       #     #  # #  ####  #        #  #   # #   #  ##    ##    #    #####   #       #",
        "# # #   #     ##    ##  #  #      # ####    #    ###   ####             #              #    ## ",
        "##  #   #    #        # #####     # #   #   #   #   #     #  ##    ##    #    #####   #     #  ",
        "#   #   #   #     #   #    #  #   # #   #   #   #   #     #  ##    ##     #          #         ",
        " ###   ###  #####  ###     #   ###   ###    #    ###   ###         #       #        #       #  ",
        "                                                                                               ",
    },
    {  // @ A B C D E F G H I J K L M N O
        " ###   ###  ####   ###  ###   ##### #####  ###  #   #  ###    ### #   # #     #   # #   #  ### ",
        "#   # #   # #   # #   # #  #  #     #     #   # #   #   #      #  #  #  #     ## ## ##  # #   #",
        "# ### #   # #   # #     #   # #     #     #     #   #   #      #  # #   #     # # # ##  # #   #",
        "# # # ##### ####  #     #   # ####  ####  #  ## #####   #      #  ##    #     # # # # # # #   #",
        "# ### #   # #   # #     #   # #     #     #   # #   #   #      #  # #   #     #   # #  ## #   #",
        "#     #   # #   # #   # #  #  #     #     #   # #   #   #   #  #  #  #  #     #   # #  ## #   #",
        " #### #   # ####   ###  ###   ##### #      ###  #   #  ###   ##   #   # ##### #   # #   #  ### ",
        "                                                                                               ",
    },
    {  // P Q R S T U V W X Y Z [ \ ] ^ _
        "####   ###  ####   #### ##### #   # #   # #   # #   # #   # #####  ###  #      ###    #        ",
        "#   # #   # #   # #       #   #   # #   # #   # #   # #   #     #  #    #        #   # #       ",
        "#   # #   # #   # #       #   #   # #   # #   #  # #   # #     #   #     #       #  #   #      ",
        "####  #   # ####   ###    #   #   # #   # # # #   #     #     #    #      #      #             ",
        "#     # # # # #       #   #   #   #  # #  # # #  # #    #    #     #       #     #             ",
        "#     #  #  #  #      #   #   #   #  # #  ## ## #   #   #   #      #        #    #             ",
        "#      ## # #   # ####    #    ###    #   #   # #   #   #   #####  ###      #  ###        #####",
        "                                                                                               ",
    },
    {  // ` a b c d e f g h i j k l m n o
        " #          #               #         ##        #       #      #  #      ##                    ",
        "  #         #               #        #          #                 #       #                    ",
        "       ###  ####   ####  ####  ###  ####   #### ####   ##     ##  #  #    #   ## #  ####   ### ",
        "          # #   # #     #   # #   #  #    #   # #   #   #      #  # #     #   # # # #   # #   #",
        "       #### #   # #     #   # #####  #    #   # #   #   #      #  ##      #   # # # #   # #   #",
        "      #   # #   # #     #   # #      #     #### #   #   #      #  # #     #   # # # #   # #   #",
        "       #### ####   ####  ####  ####  #        # #   #  ###  #  #  #  #   ###  # # # #   #  ### ",
        "                                           ###               ##                                ",
    },
    {  // p q r s t u v w x y z { | } ~
        "                         #                                           ##   #   ##               ",
        "                         #                                          #     #     #              ",
        "####   #### # ##   #### ####  #   # #   # #   # #   # #   # #####   #     #     #    #         ",
        "#   # #   # ##  # #      #    #   # #   # # # #  # #  #   #    #   #      #      #  # # #      ",
        "#   # #   # #      ###   #    #   #  # #  # # #   #   #   #   #     #     #     #      #       ",
        "####   #### #         #  #    #   #  # #  # # #  # #   ####  #      #     #     #              ",
        "#         # #     ####    ##   ####   #    # #  #   #     # #####    ##   #   ##               ",
        "#         #                                            ###                                     ",
    },
};
// clang-format on

bool glyph_pixel(char c, int x, int y) {
  const int code = c >= 32 && c < 127 ? c - 32 : '?' - 32;
  return kFont[code / kBand][y][static_cast<size_t>(code % kBand * (kColumns + 1) + x)] == '#';
}

// Dark letters on a light bar and light ones on a dark bar.
Color readable_on(Color c) {
  return 299 * c.r + 587 * c.g + 114 * c.b > 128000 ? Color{0, 0, 0} : Color{255, 255, 255};
}

}  // namespace

Color palette_color(int index) {
  // Hues a golden angle apart, in two rings of brightness.
  const int hue = (index % 20 * 222 + 8) % 360, value = index % 20 < 10 ? 255 : 190;
  const auto channel = [&](int centre) {  // a trapezoid of 120 degrees' half-width around the channel's hue
    const int away = std::abs((hue - centre + 540) % 360 - 180);
    return static_cast<uint8_t>(value * std::clamp(120 - away, 0, 60) / 60);
  };
  return {channel(0), channel(120), channel(240)};
}

void fill_box(Image& image, int x0, int y0, int x1, int y1, Color color) {
  x0 = std::max(x0, 0), y0 = std::max(y0, 0);
  x1 = std::min(x1, image.width - 1), y1 = std::min(y1, image.height - 1);
  const uint8_t rgb[3] = {color.r, color.g, color.b};
  const auto gray = static_cast<uint8_t>((299 * color.r + 587 * color.g + 114 * color.b) / 1000);
  for (int y = y0; y <= y1; ++y) {
    for (int x = x0; x <= x1; ++x) {
      for (int c = 0; c < image.channels; ++c) image.at(x, y, c) = image.channels == 3 ? rgb[c] : gray;
    }
  }
}

void draw_box(Image& image, int x0, int y0, int x1, int y1, Color color, int thickness) {
  if (x0 > x1 || y0 > y1) return;
  const int t = thickness - 1;
  fill_box(image, x0, y0, x1, std::min(y0 + t, y1), color);
  fill_box(image, x0, std::max(y1 - t, y0), x1, y1, color);
  fill_box(image, x0, y0, std::min(x0 + t, x1), y1, color);
  fill_box(image, std::max(x1 - t, x0), y0, x1, y1, color);
}

void draw_text(Image& image, int x, int y, std::string_view text, Color color, int scale) {
  for (const char c : text) {
    for (int row = 0; row < kRows; ++row) {
      for (int column = 0; column < kColumns; ++column) {
        if (!glyph_pixel(c, column, row)) continue;
        const int px = x + column * scale, py = y + row * scale;
        fill_box(image, px, py, px + scale - 1, py + scale - 1, color);
      }
    }
    x += kGlyphWidth * scale;
  }
}

void draw_labelled_box(Image& image, const std::array<float, 4>& corners, std::string_view label, Color color) {
  const int side = std::min(image.width, image.height), scale = std::max(1, side / 320);
  int at[4];
  for (int i = 0; i < 4; ++i) {  // !(v > 0) also catches NaN
    const float v = corners[static_cast<size_t>(i)],
                most = static_cast<float>((i % 2 ? image.height : image.width) - 1);
    at[i] = !(v > 0) ? 0 : static_cast<int>(std::min(v, most));
  }
  draw_box(image, at[0], at[1], at[2], at[3], color, std::max(2, side / 250));
  if (label.empty()) return;
  const int width = static_cast<int>(label.size()) * kGlyphWidth * scale + scale, height = (kGlyphHeight + 1) * scale;
  const int x = std::max(std::min(at[0], image.width - width), 0);
  const int y = at[1] >= height ? at[1] - height : at[1];
  fill_box(image, x, y, x + width - 1, y + height - 1, color);
  draw_text(image, x + scale, y + scale, label, readable_on(color), scale);
}

}  // namespace pith
