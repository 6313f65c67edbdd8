#include "data/preprocess.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "data/test_files.h"

namespace pith {
namespace {

TEST(PreprocessText, CanonicalFormsComeBack) {
  for (const char* text :
       {"image:rgb:640x640:letterbox=114:scale=1/255",
        "image:rgb:224x224:crop=256:pil_bilinear:mean=123.675,116.28,103.53:scale=1/58.395,1/57.12,1/57.375",
        "image:gray:28x28:scale=1/255", "image:bgr:320x240:mean=127:scale=1/128:nhwc",
        "image:rgb:224x224:crop:mean=127.5:scale=1/127.5", "image:rgb:8x8:fill=3:nearest", "audio:16000x16000", "audio",
        "audio:16000x16000:mfcc=10:peak", "audio:8000x8000:mfcc=13:frame=200,80,256:mel=20,50,3000:mean=1", "tensor",
        "tensor:mean=0.5:scale=2", "tokens"}) {
    const auto p = parse_preprocess(text);
    ASSERT_TRUE(p.ok()) << p.error().message;
    EXPECT_EQ(format_preprocess(*p), text);
  }
}

TEST(PreprocessText, FieldsMeanWhatTheySay) {
  const Preprocess p = parse_preprocess("image:nhwc:std=2,4,8:bgr:crop=40:32x24:mean=1,2,3").value();
  EXPECT_EQ(p.width, 32);
  EXPECT_EQ(p.height, 24);
  EXPECT_EQ(p.order, ColorOrder::kBgr);
  EXPECT_EQ(p.fit, FitRule::kCenterCrop);
  EXPECT_EQ(p.shorter, 40);
  EXPECT_EQ(p.scale, (std::array<float, 3>{0.5f, 0.25f, 0.125f}));
  EXPECT_EQ(p.mean, (std::array<float, 3>{1, 2, 3}));
  EXPECT_EQ(p.layout, PixelLayout::kNhwc);
}

TEST(PreprocessText, AnyNumbersRoundTripExactly) {
  Random random(test_seed(6));
  for (int i = 0; i < 3000; ++i) {
    Preprocess p;
    p.kind = InputKind::kImage;
    p.width = static_cast<int>(random.integer(1, 2000));
    p.height = static_cast<int>(random.integer(1, 2000));
    p.order = static_cast<ColorOrder>(random.integer(0, 2));
    p.fit = static_cast<FitRule>(random.integer(0, 2));
    p.fill = static_cast<uint8_t>(random.integer(0, 255));
    p.shorter = p.fit == FitRule::kCenterCrop ? static_cast<int>(random.integer(0, 500)) : 0;
    p.method = static_cast<ResizeMethod>(random.integer(0, 2));
    p.layout = static_cast<PixelLayout>(random.integer(0, 1));
    for (float& v : p.mean) v = static_cast<float>(random.normal() * 100);
    for (float& v : p.scale)
      v = static_cast<float>(i % 2 ? 1.0 / static_cast<double>(random.integer(1, 300)) : random.normal());
    const std::string text = format_preprocess(p);
    const auto back = parse_preprocess(text);
    ASSERT_TRUE(back.ok()) << text;
    ASSERT_EQ(*back, p) << text;
  }
}

TEST(PreprocessText, ErrorsNameTheField) {
  expect_error(parse_preprocess(""), "no known kind");
  expect_error(parse_preprocess("picture:3x3"), "picture:3x3");
  expect_error(parse_preprocess("image:rgb"), "lacks the size");
  for (const char* bad :
       {"mean=", "mean=1,2", "scale=1/0", "scale=x", "std=0", "letterbox=256", "letterbox=-1", "crop=0", "0x5", "5x",
        "99999x5", "rgb=1", "nchw=", "", "bicubic", "scale=1e999", "scale=nan"}) {
    expect_error(parse_preprocess(std::string("image:8x8:") + bad), std::string("'") + bad + "'");
  }
  expect_error(parse_preprocess("tokens:mean=1"), "mean=1");
  expect_error(parse_preprocess("tensor:3x3"), "3x3");
  expect_error(parse_preprocess("audio:0x5"), "0x5");
  expect_error(parse_preprocess("audio:mfcc=10"), "lacks the rate");
  expect_error(parse_preprocess("audio:16000x16000:frame=480,320,500"), "power of two");
  expect_error(parse_preprocess("audio:16000x16000:frame=480,320,256"), "shorter than the frame");
  expect_error(parse_preprocess("audio:16000x16000:frame=480,320"), "frame=480,320");
  expect_error(parse_preprocess("audio:16000x16000:mfcc=41"), "more coefficients");
  expect_error(parse_preprocess("audio:16000x16000:mel=40,4000,20"), "high to low");
  expect_error(parse_preprocess("audio:16000x100:mfcc"), "shorter than a frame");
  expect_error(parse_preprocess("audio:16000x16000:peak=1"), "peak=1");
  expect_error(parse_preprocess("image:\n\x01:3x3"), "??");
}

Image four_pixels() {
  Image image = make_image(2, 2, 3);
  for (size_t i = 0; i < 12; ++i) image.pixels[i] = static_cast<uint8_t>(i);
  return image;
}

TEST(Apply, LayoutAndColourOrder) {
  const auto values = [](const char* text) {
    return to_floats(apply(parse_preprocess(text).value(), four_pixels()).value().input);
  };
  EXPECT_EQ(values("image:rgb:2x2"), (std::vector<float>{0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11}));
  EXPECT_EQ(values("image:bgr:2x2:nhwc"), (std::vector<float>{2, 1, 0, 5, 4, 3, 8, 7, 6, 11, 10, 9}));
  EXPECT_EQ(values("image:gray:2x2"), (std::vector<float>{1, 4, 7, 10}));
  // mean and scale belong to the named order's channels
  EXPECT_EQ(values("image:bgr:2x2:nhwc:mean=2,1,0:scale=1,2,3"),
            (std::vector<float>{0, 0, 0, 3, 6, 9, 6, 12, 18, 9, 18, 27}));
}

TEST(Apply, GivesShapesAndGeometry) {
  const Image image = make_image(100, 50, 3, 255);
  const auto stretch = apply(parse_preprocess("image:rgb:40x30").value(), image).value();
  EXPECT_EQ(stretch.input.shape, (std::vector<int64_t>{3, 30, 40}));
  EXPECT_DOUBLE_EQ(stretch.geometry.scale_x, 0.4);
  EXPECT_DOUBLE_EQ(stretch.geometry.scale_y, 0.6);
  const auto box = apply(parse_preprocess("image:rgb:40x40:letterbox=0:nhwc").value(), image).value();
  EXPECT_EQ(box.input.shape, (std::vector<int64_t>{40, 40, 3}));
  EXPECT_DOUBLE_EQ(box.geometry.pad_y, 10);
  EXPECT_EQ(box.input.f32()[0], 0);
  EXPECT_EQ(box.input.f32()[10 * 40 * 3], 255);
  const auto crop = apply(parse_preprocess("image:rgb:20x20:crop=25").value(), image).value();
  EXPECT_DOUBLE_EQ(crop.geometry.scale_x, 0.5);  // 100x50 -> 50x25, then the middle 20x20
  EXPECT_DOUBLE_EQ(crop.geometry.pad_x, -15);
  EXPECT_DOUBLE_EQ(crop.geometry.pad_y, -2);
  const auto back = undo(crop.geometry, {0, 0, 20, 20});
  EXPECT_FLOAT_EQ(back[0], 30);
  EXPECT_FLOAT_EQ(back[3], 44);
}

TEST(Apply, ArraysForEveryKind) {
  const Preprocess image = parse_preprocess("image:rgb:2x2").value();
  Array u8 = make_array(ArrayType::kU8, {2, 2, 3});
  for (size_t i = 0; i < 12; ++i) u8.bytes[i] = static_cast<uint8_t>(i);
  EXPECT_EQ(to_floats(apply(image, u8).value().input), to_floats(apply(image, four_pixels()).value().input));
  Array planar = make_array(ArrayType::kU8, {3, 2, 2});
  for (size_t i = 0; i < 12; ++i) planar.bytes[i] = static_cast<uint8_t>(i % 4 * 3 + i / 4);
  EXPECT_EQ(to_floats(apply(image, planar).value().input), to_floats(apply(image, four_pixels()).value().input));
  const std::vector<float> values = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
  EXPECT_EQ(to_floats(apply(image, make_array({12}, values)).value().input), values);
  expect_error(apply(image, make_array({2}, std::vector<float>{1, 2})), "3x2x2");
  expect_error(apply(parse_preprocess("tensor").value(), four_pixels()), "--preprocess");

  const Preprocess audio = parse_preprocess("audio:16000x3:scale=2").value();
  Array pcm = make_array(ArrayType::kI16, {2});
  pcm.as<int16_t>()[1] = -16384;
  EXPECT_EQ(to_floats(apply(audio, pcm).value().input), (std::vector<float>{0, -1, 0}));

  Array ids = make_array(ArrayType::kI64, {2});
  ids.as<int64_t>()[1] = int64_t{1} << 40;
  EXPECT_EQ(apply(parse_preprocess("tensor").value(), ids).value().input.bytes, ids.bytes);
  EXPECT_EQ(
      apply(parse_preprocess("tokens").value(), make_array({1}, std::vector<float>{7})).value().input.as<int64_t>()[0],
      7);
  EXPECT_EQ(to_floats(apply(parse_preprocess("tensor:mean=1:scale=3").value(), ids).value().input)[0], -3);
}

TEST(Mfcc, APureToneLandsInItsBand) {
  // One coefficient per band is the whole log spectrum, so the DCT can be undone: the loudest band is the tone's.
  Mfcc o;
  o.coefficients = o.bands = 20;
  std::vector<float> tone(4800);
  for (size_t i = 0; i < tone.size(); ++i)
    tone[i] = static_cast<float>(std::sin(2 * M_PI * 1000 * static_cast<double>(i) / 16000));
  const Array out = compute_mfcc(tone, 16000, o);
  ASSERT_EQ(out.shape, (std::vector<int64_t>{14, 20}));
  std::vector<double> bands(20, 0.0);
  for (size_t b = 0; b < 20; ++b) {
    for (size_t k = 0; k < 20; ++k) {
      bands[b] += out.f32()[k] * std::sqrt(2.0 / 20) * (k == 0 ? 0.5 : 1) *
                  std::cos(M_PI / 20 * (static_cast<double>(b) + 0.5) * static_cast<double>(k));
    }
  }
  // mel(20) = 32, mel(4000) = 2146: the centres are 100.7 apart from 132.4 on, so mel(1000) = 1000 is nearest the tenth.
  // (968+...)
  EXPECT_EQ(std::max_element(bands.begin(), bands.end()) - bands.begin(), 9);
}

TEST(Mfcc, PeakMakesLoudnessDisappear) {
  std::vector<float> quiet(1000), loud(1000);
  Random random(1);
  for (size_t i = 0; i < quiet.size(); ++i) loud[i] = 8 * (quiet[i] = static_cast<float>(random.normal()));
  Mfcc o;
  EXPECT_NE(to_floats(compute_mfcc(quiet, 16000, o)), to_floats(compute_mfcc(loud, 16000, o)));
  o.peak = true;
  EXPECT_EQ(to_floats(compute_mfcc(quiet, 16000, o)), to_floats(compute_mfcc(loud, 16000, o)));
  // silence has a peak of 0 and stays finite; too short a sound has no frames
  for (const float v : to_floats(compute_mfcc(std::vector<float>(1000, 0.0f), 16000, o))) EXPECT_TRUE(std::isfinite(v));
  EXPECT_EQ(compute_mfcc(std::vector<float>(479, 0.5f), 16000, o).shape, (std::vector<int64_t>{0, 10}));
}

TEST(Mfcc, BelongsToThePreprocessing) {
  const Preprocess p = parse_preprocess("audio:16000x16000:mfcc=10:peak").value();
  const Prepared out = apply(p, make_array({3}, std::vector<float>{0, 1, 0})).value();
  EXPECT_EQ(out.input.shape, (std::vector<int64_t>{49, 10}));
}

}  // namespace
}  // namespace pith
