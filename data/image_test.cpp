#include "data/image.h"

#include <gtest/gtest.h>

#include <cmath>

#include "data/test_files.h"

namespace pith {
namespace {

TEST(Codecs, PngKeepsEveryPixel) {
  for (const int channels : {1, 3}) {
    const Image in = random_image(17, 5, channels, 3);
    const auto out = decode_image(png_bytes(in), "x.png");
    ASSERT_TRUE(out.ok()) << out.error().message;
    EXPECT_EQ(out->channels, channels);
    EXPECT_EQ(out->width, 17);
    EXPECT_EQ(out->pixels, in.pixels);
  }
}

TEST(Codecs, JpegInColourAndGray) {
  const auto rgb = decode_image(jpeg_bytes(64, 8, 3), "x.jpg");
  ASSERT_TRUE(rgb.ok()) << rgb.error().message;
  EXPECT_EQ(rgb->channels, 3);
  EXPECT_LT(rgb->at(1, 4, 0), 20);
  EXPECT_GT(rgb->at(62, 4, 2), 235);
  const auto gray = decode_image(jpeg_bytes(64, 8, 1), "x.jpg");
  ASSERT_TRUE(gray.ok());
  EXPECT_EQ(gray->channels, 1);
}

TEST(Codecs, CmykIsRefusedWithTheMend) {
  expect_error(decode_image(jpeg_bytes(16, 16, 4), "shop/c.jpg"), "shop/c.jpg");
  expect_error(decode_image(jpeg_bytes(16, 16, 4), "c.jpg"), "CMYK");
}

// A TIFF structure with the orientation tag, in either byte order.
Bytes exif(int orientation, bool little) {
  Bytes b = {'E', 'x', 'i', 'f', 0, 0};
  const auto u16 = [&](int v) {
    b.push_back(static_cast<uint8_t>(little ? v : v >> 8));
    b.push_back(static_cast<uint8_t>(little ? v >> 8 : v));
  };
  const auto u32 = [&](int v) { little ? (u16(v), u16(0)) : (u16(0), u16(v)); };
  b.insert(b.end(), 2, little ? 'I' : 'M');
  u16(42);
  u32(8);
  u16(1);  // one entry: tag, type SHORT, count 1, value
  u16(0x112);
  u16(3);
  u32(1);
  u16(orientation);
  u16(0);
  return b;
}

TEST(Codecs, ExifOrientationTurnsThePicture) {
  // The stored picture is dark at its left. Where is the dark side after turning?
  struct Case {
    int orientation;
    bool swapped;
    int dark_x, dark_y;  // -1 left/top, 1 right/bottom, 0 not on this axis
  };
  for (const Case c : {Case{1, false, -1, 0},
                       {2, false, 1, 0},
                       {3, false, 1, 0},
                       {4, false, -1, 0},
                       {5, true, 0, -1},
                       {6, true, 0, -1},
                       {7, true, 0, 1},
                       {8, true, 0, 1}}) {
    for (const bool little : {false, true}) {
      const Bytes file = jpeg_bytes(64, 16, 3, exif(c.orientation, little));
      const auto turned = decode_image(file, "x.jpg");
      ASSERT_TRUE(turned.ok());
      EXPECT_EQ(turned->width, c.swapped ? 16 : 64);
      const auto side = [](int where, int size) { return where < 0 ? 0 : where > 0 ? size - 1 : size / 2; };
      const int x = side(c.dark_x, turned->width), y = side(c.dark_y, turned->height);
      EXPECT_LT(turned->at(x, y, 0), 40) << c.orientation;
      EXPECT_GT(turned->at(side(-c.dark_x, turned->width), side(-c.dark_y, turned->height), 0), 215) << c.orientation;
      EXPECT_EQ(decode_image(file, "x.jpg", false).value().width, 64);
    }
  }
}

TEST(Codecs, DamagedExifIsIgnored) {
  Random random(test_seed(2));
  for (int i = 0; i < 300; ++i) {
    Bytes block = exif(6, i % 2 == 0);
    block[static_cast<size_t>(random.integer(6, static_cast<int64_t>(block.size()) - 1))] =
        static_cast<uint8_t>(random.next());
    if (i % 3 == 0) block.resize(static_cast<size_t>(random.integer(6, 30)));
    EXPECT_TRUE(decode_image(jpeg_bytes(8, 8, 1, block), "x.jpg").ok());
  }
}

TEST(Codecs, PpmAndPgm) {
  const std::string ppm = std::string("P6\n# made by hand\n2 1\n255\n") + "\x01\x02\x03\x04\x05\x06";
  const auto rgb = decode_image(std::span(reinterpret_cast<const uint8_t*>(ppm.data()), ppm.size()), "x.ppm");
  ASSERT_TRUE(rgb.ok()) << rgb.error().message;
  EXPECT_EQ(rgb->pixels, (Bytes{1, 2, 3, 4, 5, 6}));
  const auto parse = [](const std::string& text) { return decode_image(Bytes(text.begin(), text.end()), "x.pgm"); };
  EXPECT_EQ(parse("P5 1 2 255\nAB").value().pixels, (Bytes{'A', 'B'}));
  expect_error(parse("P5 1 2 255\nA"), "ends early");
  expect_error(parse("P5 1 2 65535\nABCD"), "8 bits");
  expect_error(parse("P5 0 2 255\nAB"), "impossible");
  expect_error(parse("P5 99999999999999999999 99999999999 255\nAB"), "x.pgm");
  expect_error(parse("P5 1"), "header");
  expect_error(parse("P5"), "header");
}

TEST(Codecs, EveryCutIsAnError) {
  const Image in = random_image(9, 7, 3, 5);
  for (const Bytes& whole : {png_bytes(in), jpeg_bytes(40, 24, 3)}) {
    for (size_t n = 0; n + 2 < whole.size(); ++n) {  // libjpeg mends a missing end marker itself
      EXPECT_FALSE(decode_image(std::span(whole).first(n), "cut").ok()) << n << " of " << whole.size();
    }
  }
}

TEST(Codecs, DamagedBytesNeverCrash) {
  Random random(test_seed(3));
  for (const Bytes& whole : {png_bytes(random_image(9, 7, 3, 5)), jpeg_bytes(40, 24, 3), jpeg_bytes(24, 24, 1)}) {
    for (int i = 0; i < 500; ++i) {
      Bytes bad = whole;
      bad[static_cast<size_t>(random.integer(8, static_cast<int64_t>(bad.size()) - 1))] =
          static_cast<uint8_t>(random.next());
      const auto image = decode_image(bad, "x");
      if (image.ok()) {
        EXPECT_EQ(image->pixels.size(), static_cast<size_t>(image->width) * image->height * image->channels);
      }
    }
  }
}

TEST(Codecs, OtherContentIsRefused) {
  expect_error(decode_image(Bytes{}, "none"), "none");
  expect_error(decode_image(Bytes{'G', 'I', 'F', '8'}, "a.gif"), "a.gif");
  expect_error(read_image("/nonexistent.jpg"), "/nonexistent.jpg");
  // A header that promises 65500 x 65500 pixels must not be believed.
  Bytes huge = jpeg_bytes(16, 16, 3);
  for (size_t i = 0; i + 9 < huge.size(); ++i) {
    if (huge[i] == 0xff && huge[i + 1] == 0xc0) huge[i + 5] = huge[i + 6] = huge[i + 7] = huge[i + 8] = 0xdc;
  }
  expect_error(decode_image(huge, "huge.jpg"), "million pixels");
}

// Pillow 12.3: Image.fromarray(a).resize(size, BILINEAR) for a[i] = (i * 73 + 11) % 256 in row-major order.
Image pattern(int width, int height) {
  Image image = make_image(width, height, 1);
  for (size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<uint8_t>((i * 73 + 11) % 256);
  return image;
}

TEST(Resize, PilBilinearGivesPillowsPixels) {
  EXPECT_EQ(resize(pattern(5, 4), 3, 3, ResizeMethod::kPilBilinear).pixels,
            (Bytes{75, 130, 125, 151, 93, 106, 124, 155, 87}));
  EXPECT_EQ(resize(pattern(3, 2), 5, 3, ResizeMethod::kPilBilinear).pixels,
            (Bytes{11, 40, 84, 128, 157, 121, 99, 66, 110, 139, 230, 157, 47, 91, 120}));
}

TEST(Resize, ConstantPicturesStayConstant) {
  Random random(test_seed(4));
  for (int i = 0; i < 100; ++i) {
    const auto side = [&] { return static_cast<int>(random.integer(1, 60)); };
    const auto value = static_cast<uint8_t>(random.integer(0, 255));
    const Image in = make_image(side(), side(), 3, value);
    for (const auto m : {ResizeMethod::kPilBilinear, ResizeMethod::kBilinear, ResizeMethod::kNearest}) {
      const Image out = resize(in, side(), side(), m);
      for (const uint8_t p : out.pixels) ASSERT_EQ(p, value) << resize_method_name(m);
    }
  }
}

// The definition in double: half-pixel centres, borders repeated.
TEST(Resize, BilinearIsWithinOneLevelOfTheFormula) {
  Random random(test_seed(5));
  for (int i = 0; i < 30; ++i) {
    const auto side = [&] { return static_cast<int>(random.integer(1, 40)); };
    const Image in = random_image(side(), side(), 1, random.next());
    const int width = side(), height = side();
    const Image out = resize(in, width, height, ResizeMethod::kBilinear);
    for (int y = 0; y < height; ++y) {
      for (int x = 0; x < width; ++x) {
        const auto clamp = [](double v, int size) { return std::min(std::max(v, 0.0), size - 1.0); };
        const double u = clamp((x + 0.5) * in.width / width - 0.5, in.width);
        const double v = clamp((y + 0.5) * in.height / height - 0.5, in.height);
        const int x0 = static_cast<int>(u), y0 = static_cast<int>(v);
        const int x1 = std::min(x0 + 1, in.width - 1), y1 = std::min(y0 + 1, in.height - 1);
        const double a = u - x0, b = v - y0;
        const double value = (in.at(x0, y0, 0) * (1 - a) + in.at(x1, y0, 0) * a) * (1 - b) +
                             (in.at(x0, y1, 0) * (1 - a) + in.at(x1, y1, 0) * a) * b;
        ASSERT_NEAR(out.at(x, y, 0), value, 1.0);
      }
    }
  }
}

TEST(Resize, NearestTakesThePixelUnderTheCentre) {
  Image in = make_image(4, 1, 1);
  in.pixels = {10, 20, 30, 40};
  EXPECT_EQ(resize(in, 2, 1, ResizeMethod::kNearest).pixels, (Bytes{20, 40}));
  EXPECT_EQ(resize(in, 8, 1, ResizeMethod::kNearest).pixels, (Bytes{10, 10, 20, 20, 30, 30, 40, 40}));
}

TEST(Fit, LetterboxCentresAndUndoes) {
  const Image in = make_image(640, 427, 3, 200);
  const FittedImage out = letterbox(in, 640, 640, 114, ResizeMethod::kBilinear);
  EXPECT_EQ(out.image.height, 640);
  EXPECT_EQ(out.geometry.pad_x, 0);
  EXPECT_EQ(out.geometry.pad_y, 106);  // (640 - 427) / 2 = 106.5; the odd row goes below
  EXPECT_EQ(out.image.at(0, 105, 0), 114);
  EXPECT_EQ(out.image.at(0, 106, 0), 200);
  EXPECT_EQ(out.image.at(0, 106 + 426, 0), 200);
  EXPECT_EQ(out.image.at(0, 106 + 427, 0), 114);
  const auto back = undo(out.geometry, {10, 116, 700, 640});
  EXPECT_FLOAT_EQ(back[0], 10);
  EXPECT_FLOAT_EQ(back[1], 10);
  EXPECT_FLOAT_EQ(back[2], 640);  // clipped to the picture
  EXPECT_FLOAT_EQ(back[3], 427);
}

TEST(Fit, LetterboxOfExtremeShapesKeepsAtLeastAPixel) {
  const FittedImage thin = letterbox(make_image(2000, 1, 1, 9), 10, 10, 0, ResizeMethod::kPilBilinear);
  EXPECT_EQ(thin.image.at(5, 4, 0), 9);
  EXPECT_EQ(letterbox(make_image(1, 1, 3, 9), 7, 3, 0, ResizeMethod::kBilinear).image.at(3, 1, 0), 9);
}

TEST(Fit, CenterCropCutsAndPads) {
  const Image in = random_image(227, 227, 3, 8);
  const FittedImage out = center_crop(in, 224, 224);
  EXPECT_EQ(out.geometry.pad_x, -2);  // 1.5 rounds to even
  EXPECT_EQ(out.image.at(0, 0, 1), in.at(2, 2, 1));
  const FittedImage padded = center_crop(make_image(1, 2, 1, 50), 4, 2, 7);
  EXPECT_EQ(padded.image.pixels, (Bytes{7, 50, 7, 7, 7, 50, 7, 7}));
  EXPECT_EQ(padded.geometry.pad_x, 1);
}

TEST(Draw, BoxesAreClippedAndLeaveTheInsideAlone) {
  Image image = make_image(20, 20, 3, 0);
  draw_box(image, -5, -5, 10, 10, {255, 0, 0}, 2);
  EXPECT_EQ(image.at(10, 0, 0), 255);
  EXPECT_EQ(image.at(9, 5, 0), 255);
  EXPECT_EQ(image.at(8, 5, 0), 0);
  EXPECT_EQ(image.at(11, 5, 0), 0);
  const Bytes before = image.pixels;
  draw_box(image, 30, 30, 50, 50, {1, 2, 3});
  draw_box(image, 5, 5, 4, 4, {1, 2, 3});
  draw_text(image, -100, 50, "off", {1, 2, 3});
  EXPECT_EQ(image.pixels, before);
}

TEST(Draw, LettersAreTheirOwn) {
  // Every printable character but the blank draws something, and no two draw the same.
  std::vector<Bytes> seen;
  for (char c = ' '; c < 127; ++c) {
    Image cell = make_image(kGlyphWidth, kGlyphHeight, 1, 0);
    draw_text(cell, 0, 0, std::string(1, c), {255, 255, 255});
    EXPECT_EQ(std::count(cell.pixels.begin(), cell.pixels.end(), 255) > 0, c != ' ') << c;
    for (int y = 0; y < kGlyphHeight; ++y) EXPECT_EQ(cell.at(kGlyphWidth - 1, y, 0), 0) << c;
    EXPECT_EQ(std::find(seen.begin(), seen.end(), cell.pixels), seen.end()) << c;
    seen.push_back(cell.pixels);
  }
  Image odd = make_image(kGlyphWidth, kGlyphHeight, 1, 0), question = odd;
  draw_text(odd, 0, 0, "\xc3", {255, 255, 255});
  draw_text(question, 0, 0, "?", {255, 255, 255});
  EXPECT_EQ(odd.pixels, question.pixels);
}

TEST(Draw, LabelledBoxesSurviveAnyCorners) {
  Image image = make_image(30, 30, 1, 0);
  draw_labelled_box(image, {NAN, -1e30f, 1e30f, INFINITY}, "a label that is longer than the picture", palette_color(3));
  EXPECT_GT(std::count_if(image.pixels.begin(), image.pixels.end(), [](uint8_t p) { return p != 0; }), 0);
  for (int i = 0; i < 20; ++i) {
    for (int j = 0; j < i; ++j) {
      const Color a = palette_color(i), b = palette_color(j);
      EXPECT_TRUE(a.r != b.r || a.g != b.g || a.b != b.b) << i << " " << j;
    }
  }
}

TEST(Color, GrayAndRgbConvert) {
  Image rgb = make_image(1, 1, 3);
  rgb.pixels = {255, 0, 0};
  EXPECT_EQ(to_gray(rgb).pixels, Bytes{76});
  EXPECT_EQ(to_rgb(to_gray(rgb)).pixels, (Bytes{76, 76, 76}));
}

}  // namespace
}  // namespace pith
