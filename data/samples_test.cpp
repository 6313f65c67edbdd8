#include "data/samples.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "data/test_files.h"

namespace pith {
namespace {

Bytes picture(uint64_t seed) { return png_bytes(random_image(4, 3, 3, seed)); }

Bytes idx(const std::vector<uint32_t>& shape, const Bytes& data) {
  Bytes out = {0, 0, 8, static_cast<uint8_t>(shape.size())};
  for (const uint32_t d : shape) put_be32(out, d);
  out.insert(out.end(), data.begin(), data.end());
  return out;
}

Bytes wav(const std::vector<int16_t>& samples, int channels = 1, int bits = 16, uint32_t stated = 0) {
  Bytes b = {'R', 'I', 'F', 'F', 0, 0, 0, 0, 'W', 'A', 'V', 'E', 'L', 'I', 'S', 'T'};
  put_le32(b, 3);  // an odd chunk, padded to even
  b.insert(b.end(), {'x', 'y', 'z', 0, 'f', 'm', 't', ' '});
  put_le32(b, 16);
  b.insert(b.end(), {1, 0, static_cast<uint8_t>(channels), 0});
  put_le32(b, 16000);
  put_le32(b, 32000);
  b.insert(b.end(), {2, 0, static_cast<uint8_t>(bits), 0, 'd', 'a', 't', 'a'});
  put_le32(b, stated ? stated : static_cast<uint32_t>(samples.size() * 2));
  for (const int16_t s : samples) {
    b.push_back(static_cast<uint8_t>(s));
    b.push_back(static_cast<uint8_t>(s >> 8));
  }
  return b;
}

std::vector<std::string> names(const SampleSet& set) {
  std::vector<std::string> out;
  for (size_t i = 0; i < set.size(); ++i) out.push_back(set.name(i));
  return out;
}

std::vector<int64_t> labels(const SampleSet& set) {
  std::vector<int64_t> out;
  for (size_t i = 0; i < set.size(); ++i) out.push_back(set.label(i).value_or(-1));
  return out;
}

TEST(NaturalOrder, NumbersCompareAsNumbers) {
  std::vector<std::string> v = {
      "img10", "img2", "img1", "img02", "a", "img", "img2b", "img2/x", "9999999999999999999999", "1"};
  std::sort(v.begin(), v.end(), natural_less);
  EXPECT_EQ(v, (std::vector<std::string>{"1", "9999999999999999999999", "a", "img", "img1", "img02", "img2", "img2/x",
                                         "img2b", "img10"}));
  EXPECT_FALSE(natural_less("a1", "a1"));
}

TEST(Folder, RecursiveNaturalAndWithoutHiddenFiles) {
  const TestFolder f;
  for (const char* name : {"p10.png", "p2.PNG", "sub/p1.png", "sub/.hidden.png", ".git/x.png", "notes.md"})
    f.write(name, picture(1));
  const auto set = SampleSet::open(f.path());
  ASSERT_TRUE(set.ok()) << set.error().message;
  EXPECT_EQ(names(*set), (std::vector<std::string>{"p2.PNG", "p10.png", "sub/p1.png"}));
  EXPECT_FALSE(set->has_labels());
  const auto s = set->read(2);
  ASSERT_TRUE(s.ok());
  EXPECT_EQ(s->name, "sub/p1.png");
  EXPECT_EQ(s->image->pixels, random_image(4, 3, 3, 1).pixels);
}

TEST(Folder, ClassFoldersGiveLabels) {
  const TestFolder f;
  for (const char* name : {"train/dog/2.png", "train/cat/10.png", "train/cat/9.png", "train/ant/1.png"})
    f.write(name, picture(1));
  const auto set = SampleSet::open(f.path());
  ASSERT_TRUE(set.ok());
  EXPECT_EQ(set->class_names(), (std::vector<std::string>{"ant", "cat", "dog"}));
  EXPECT_EQ(labels(*set), (std::vector<int64_t>{0, 1, 1, 2}));
  EXPECT_TRUE(set->has_labels());
  // one folder alone makes no classes
  const TestFolder g;
  g.write("images/1.png", picture(1));
  EXPECT_TRUE(SampleSet::open(g.path()).value().class_names().empty());
}

TEST(Folder, LabelsFileInsideIsRead) {
  const TestFolder f;
  f.write("a.png", picture(1));
  f.write("b.png", picture(2));
  f.write("labels.txt", "b.png 7\na.png\t3\r\n");
  EXPECT_EQ(labels(SampleSet::open(f.path()).value()), (std::vector<int64_t>{3, 7}));
  f.write("labels.txt", "cat\ndog\n");  // class names, not labels: left alone
  EXPECT_FALSE(SampleSet::open(f.path()).value().has_labels());
}

TEST(Folder, OtherKindsWhereThereAreNoPictures) {
  const TestFolder f;
  f.write("x.npy", encode_npy(make_array({1, 2}, std::vector<float>{1, 2})));
  f.write("y.bin", Bytes(8));
  const auto arrays = SampleSet::open(f.path()).value();
  EXPECT_EQ(names(arrays), (std::vector<std::string>{"x.npy"}));
  EXPECT_EQ(arrays.read(0).value().arrays.at(0).array.shape, (std::vector<int64_t>{1, 2}));
  std::filesystem::remove(f / "x.npy");
  EXPECT_EQ(SampleSet::open(f.path()).value().read(0).value().arrays.at(0).array.shape, (std::vector<int64_t>{2}));
  std::filesystem::remove(f / "y.bin");
  expect_error(SampleSet::open(f.path()), "holds no samples");
}

TEST(Labels, NamedFileMustFit) {
  const TestFolder f;
  f.write("p/a.png", picture(1));
  f.write("p/b.png", picture(2));
  SampleOptions options;
  options.labels = f.write("l.txt", "# comment\n4\n5\n");
  EXPECT_EQ(labels(SampleSet::open(f / "p", options).value()), (std::vector<int64_t>{4, 5}));
  options.labels = f.write("l.txt", "a.png,1\nb.png, 2\n");
  EXPECT_EQ(labels(SampleSet::open(f / "p", options).value()), (std::vector<int64_t>{1, 2}));
  options.labels = f.write("l.txt", "4\n");
  expect_error(SampleSet::open(f / "p", options), "one label per sample");
  options.labels = f.write("l.txt", "c.png 1\n");
  expect_error(SampleSet::open(f / "p", options), "names none");
  options.labels = f.write("l.txt", "a.png one\n");
  expect_error(SampleSet::open(f / "p", options), "line 1");
  options.labels = f / "none.txt";
  expect_error(SampleSet::open(f / "p", options), "none.txt");
}

TEST(List, PathsAreRelativeToTheList) {
  const TestFolder f;
  f.write("d/b.png", picture(1));
  f.write("d/a c.png", picture(2));
  const auto set = SampleSet::open(f.write("d/list.txt", "# first\nb.png 3\r\n\na c.png 0\n"));
  ASSERT_TRUE(set.ok()) << set.error().message;
  EXPECT_EQ(names(*set), (std::vector<std::string>{"b.png", "a c.png"}));
  EXPECT_EQ(labels(*set), (std::vector<int64_t>{3, 0}));
  EXPECT_TRUE(set->read(1).ok());
  EXPECT_FALSE(SampleSet::open(f.write("d/list.txt", "b.png\na c.png\n")).value().has_labels());
  expect_error(SampleSet::open(f.write("d/list.txt", "b.png\nmissing.png 3\n")), "line 2");
  expect_error(SampleSet::open(f.write("d/list.txt", "\n\n")), "lists nothing");
}

TEST(Archive, EveryPackingGivesTheSameSamples) {
  const TestFolder f;
  const std::string deep(150, 'd');  // longer than the name field of a plain tar header
  const std::vector<std::pair<std::string, Bytes>> members = {{"./set/10.png", picture(10)},
                                                              {"./set/2.png", picture(2)},
                                                              {"set/readme.md", {1}},
                                                              {"set/" + deep + ".png", picture(3)}};
  const std::vector<std::pair<Packing, std::string>> packings = {{Packing::kTar, "a.tar"},
                                                                 {Packing::kTarGz, "a.tar.gz"},
                                                                 {Packing::kTarXz, "a.tar.xz"},
                                                                 {Packing::kZip, "a.ZIP"},
                                                                 {Packing::kZipStored, "b.zip"}};
  for (const auto& [packing, name] : packings) {
    const auto set = SampleSet::open(f.write(name, pack(packing, members)));
    ASSERT_TRUE(set.ok()) << set.error().message;
    EXPECT_EQ(names(*set), (std::vector<std::string>{"set/2.png", "set/10.png", "set/" + deep + ".png"}));
    for (const size_t i : {2, 0, 1}) {  // any order
      const auto s = set->read(i);
      ASSERT_TRUE(s.ok()) << s.error().message;
      EXPECT_EQ(s->image->pixels, random_image(4, 3, 3, i == 0 ? 2 : i == 1 ? 10 : 3).pixels);
    }
  }
}

TEST(Archive, LabelsBesideAndClassFolders) {
  const TestFolder f;
  f.write("labels.txt", "x.png 5\ny.png 6\n");
  EXPECT_EQ(
      labels(SampleSet::open(f.write("i.tar", pack(Packing::kTar, {{"x.png", picture(1)}, {"y.png", picture(2)}})))
                 .value()),
      (std::vector<int64_t>{5, 6}));
  const auto classes =
      SampleSet::open(f.write("c.tar", pack(Packing::kTar, {{"s/no/a.png", picture(1)}, {"s/yes/b.png", picture(2)}})));
  EXPECT_EQ(classes.value().class_names(), (std::vector<std::string>{"no", "yes"}));
}

TEST(Archive, DamagedOnesAreErrors) {
  const TestFolder f;
  const Bytes tar = pack(Packing::kTar, {{"x.png", Bytes(5000, 1)}});
  expect_error(SampleSet::open(f.write("cut.tar", Bytes(tar.begin(), tar.begin() + 600))), "cut.tar");
  expect_error(SampleSet::open(f.write("junk.tar", Bytes(5000, 77))), "junk.tar");
  expect_error(SampleSet::open(f.write("empty.zip", Bytes{})), "empty.zip");
  const Bytes gz = pack(Packing::kTarGz, {{"x.png", picture(1)}});
  expect_error(
      SampleSet::open(f.write("cut.tar.gz", Bytes(gz.begin(), gz.begin() + static_cast<ptrdiff_t>(gz.size() / 2)))),
      "cut.tar.gz");
  // a member that is no picture is an error when it is read, and names both
  const auto set = SampleSet::open(f.write("m.tar", tar));
  expect_error(set.value().read(0), "m.tar:x.png");
}

TEST(Archive, NamesOutsideAsciiAreKept) {
  const TestFolder f;
  for (const auto& [packing, name] : {std::pair(Packing::kTar, "a.tar"), {Packing::kTarGz, "a.tgz"}}) {
    const auto set = SampleSet::open(f.write(name, pack(packing, {{"b\xc3\xa4ume/1.png", picture(1)}})));
    ASSERT_TRUE(set.ok()) << set.error().message;
    EXPECT_EQ(set->name(0), "b\xc3\xa4ume/1.png");
    EXPECT_TRUE(set->read(0).ok());
  }
}

// A zip says by a flag that its names are UTF-8 (bit 11 of the general purpose flags), as Python's zipfile does.
TEST(Archive, ZipNamesMarkedAsUtf8AreKept) {
  const TestFolder f;
  Bytes zip = pack(Packing::kZipStored, {{"b__ume.png", picture(1)}});
  for (size_t i = 0; i + 10 < zip.size(); ++i) {
    if (std::equal(zip.begin() + static_cast<ptrdiff_t>(i), zip.begin() + static_cast<ptrdiff_t>(i) + 2, "b_")) {
      zip[i + 1] = 0xc3, zip[i + 2] = 0xa4;
    }
    if (zip[i] == 'P' && zip[i + 1] == 'K' && zip[i + 2] == 3 && zip[i + 3] == 4) zip[i + 7] |= 8;
    if (zip[i] == 'P' && zip[i + 1] == 'K' && zip[i + 2] == 1 && zip[i + 3] == 2) zip[i + 9] |= 8;
  }
  const auto set = SampleSet::open(f.write("a.zip", zip));
  ASSERT_TRUE(set.ok()) << set.error().message;
  EXPECT_EQ(set->name(0), "b\xc3\xa4ume.png");
  EXPECT_TRUE(set->read(0).ok());
}

// Whatever a byte becomes, opening and reading end in a sample or in an error.
TEST(Open, DamagedFilesNeverCrash) {
  const TestFolder f;
  Random random(test_seed(9));
  const Bytes npy = encode_npy(make_array(ArrayType::kF32, {3, 2}));
  const std::vector<std::pair<std::string, Bytes>> files = {
      {"a.tar", pack(Packing::kTar, {{"x/1.png", picture(1)}, {"y/2.png", picture(2)}})},
      {"a.tar.gz", pack(Packing::kTarGz, {{"x/1.png", picture(1)}})},
      {"a.zip", pack(Packing::kZip, {{"1.npy", npy}, {"2.npy", npy}})},
      {"a.npz", pack(Packing::kZip, {{"1.npy", npy}, {"y.npy", npy}})},
      {"a.npy", npy},
      {"a-idx3-ubyte", idx({2, 2, 3}, Bytes(12))},
      {"a.wav", wav({1, 2, 3})}};
  for (const auto& [name, whole] : files) {
    size_t bad = 0;
    for (int i = 0; i < 60; ++i) {
      Bytes bytes = whole;
      for (int k = 0; k < 1 + i % 4; ++k) {
        bytes[static_cast<size_t>(random.integer(0, static_cast<int64_t>(bytes.size()) - 1))] =
            static_cast<uint8_t>(random.next());
      }
      if (i % 5 == 0) bytes.resize(static_cast<size_t>(random.integer(0, static_cast<int64_t>(bytes.size()))));
      const auto set = SampleSet::open(f.write(name, bytes));
      bad += !set.ok();
      for (size_t s = 0; set.ok() && s < std::min<size_t>(set->size(), 4); ++s) bad += !set->read(s).ok();
    }
    EXPECT_GT(bad, 0u) << name;
  }
}

TEST(Npy, FirstAxisIsSamples) {
  const TestFolder f;
  const auto set =
      SampleSet::open(f.write("x.npy", encode_npy(make_array({3, 2}, std::vector<float>{0, 1, 2, 3, 4, 5})))).value();
  EXPECT_EQ(names(set), (std::vector<std::string>{"x.npy[0]", "x.npy[1]", "x.npy[2]"}));
  EXPECT_EQ(to_floats(set.read(2).value().arrays.at(0).array), (std::vector<float>{4, 5}));
  expect_error(SampleSet::open(f.write("s.npy", encode_npy(make_array(ArrayType::kF32, {})))), "scalar");
  expect_error(SampleSet::open(f.write("e.npy", encode_npy(make_array(ArrayType::kF32, {0, 4})))), "0x4");
}

TEST(Npz, NamedInputsConstantsAndLabels) {
  const TestFolder f;
  Array ids = make_array(ArrayType::kI64, {2, 3}), y = make_array(ArrayType::kI64, {2}),
        rate = make_array(ArrayType::kI64, {});
  ids.as<int64_t>()[3] = 42;
  y.as<int64_t>()[1] = 9;
  rate.as<int64_t>()[0] = 16000;
  const Bytes file =
      pack(Packing::kZip, {{"ids.npy", encode_npy(ids)}, {"sr.npy", encode_npy(rate)}, {"y.npy", encode_npy(y)}});
  const auto set = SampleSet::open(f.write("x.npz", file));
  ASSERT_TRUE(set.ok()) << set.error().message;
  EXPECT_EQ(labels(*set), (std::vector<int64_t>{0, 9}));
  const Sample s = set->read(1).value();
  ASSERT_EQ(s.arrays.size(), 2u);
  EXPECT_EQ(s.arrays[0].name, "ids");
  EXPECT_EQ(s.arrays[0].array.as<int64_t>()[0], 42);
  EXPECT_EQ(s.arrays[1].array.as<int64_t>()[0], 16000);
  const Bytes uneven =
      pack(Packing::kZip, {{"a.npy", encode_npy(ids)}, {"b.npy", encode_npy(make_array(ArrayType::kF32, {5}))}});
  expect_error(SampleSet::open(f.write("u.npz", uneven)), "same first axis");
}

TEST(Idx, PicturesWithLabelsBesidePackedOrNot) {
  const TestFolder f;
  const Bytes pictures = idx({2, 2, 3}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}), digits = idx({2}, {7, 1});
  const std::string path = f.write("t10k-images-idx3-ubyte.gz", pack(Packing::kGz, {{"x", pictures}}));
  EXPECT_FALSE(SampleSet::open(path).value().has_labels());
  f.write("t10k-labels-idx1-ubyte", digits);
  const auto set = SampleSet::open(path);
  ASSERT_TRUE(set.ok()) << set.error().message;
  EXPECT_EQ(labels(*set), (std::vector<int64_t>{7, 1}));
  const Sample s = set->read(1).value();
  EXPECT_EQ(s.image->width, 3);
  EXPECT_EQ(s.image->channels, 1);
  EXPECT_EQ(s.image->pixels, (Bytes{7, 8, 9, 10, 11, 12}));
  f.write("t10k-labels-idx1-ubyte", idx({3}, {7, 1, 2}));
  expect_error(SampleSet::open(path), "t10k-labels-idx1-ubyte");
  expect_error(SampleSet::open(f.write("a-idx3-ubyte", idx({2, 2, 3}, Bytes(11)))), "no kind of samples");
  expect_error(SampleSet::open(f.write("b-idx3-ubyte", idx({0xffffffff, 0xffffffff, 0xffffffff}, {}))),
               "no kind of samples");
}

TEST(Cifar, RecordsBecomePictures) {
  const TestFolder f;
  Bytes file(2 * 3073, 0);
  file[0] = 9;
  file[3073] = 4;
  file[3073 + 1 + 33] = 200;             // red at (1, 1)
  file[3073 + 1 + 2 * 1024 + 33] = 100;  // blue at (1, 1)
  const auto set = SampleSet::open(f.write("test.bin", file)).value();
  EXPECT_EQ(labels(set), (std::vector<int64_t>{9, 4}));
  const Sample s = set.read(1).value();
  EXPECT_EQ(s.image->at(1, 1, 0), 200);
  EXPECT_EQ(s.image->at(1, 1, 1), 0);
  EXPECT_EQ(s.image->at(1, 1, 2), 100);
  SampleOptions raw;
  raw.raw = true;
  raw.raw_type = ArrayType::kU8;
  raw.raw_shape = {3073};
  EXPECT_EQ(SampleSet::open(f / "test.bin", raw).value().size(), 2u);
  raw.raw_shape = {4};
  expect_error(SampleSet::open(f / "test.bin", raw), "test.bin");
  raw.raw_shape = {INT64_MAX, 4};
  expect_error(SampleSet::open(f / "test.bin", raw), "impossible");
}

TEST(Wav, SixteenBitMono) {
  const TestFolder f;
  const Sample s = SampleSet::open(f.write("a.wav", wav({0, 16384, -32768}))).value().read(0).value();
  EXPECT_EQ(s.rate, 16000);
  EXPECT_EQ(to_floats(s.arrays.at(0).array), (std::vector<float>{0, 0.5f, -1}));
  EXPECT_EQ(prepare(parse_preprocess("audio:16000x2").value(), s).value().inputs.at(0).array.elements(), 2u);
  expect_error(prepare(parse_preprocess("audio:8000x2").value(), s), "-ar 8000");
  const auto read = [&](const Bytes& bytes) { return SampleSet::open(f.write("b.wav", bytes)).value().read(0); };
  EXPECT_EQ(read(wav({1, 2}, 1, 16, 0xffffffff)).value().arrays.at(0).array.elements(), 2u);
  expect_error(read(wav({1, 2}, 2)), "2 channels");
  expect_error(read(wav({1, 2}, 1, 24)), "24 bits");
  expect_error(read(wav({1, 2}, 1, 16, 100)), "ends inside");
  const Bytes whole = wav({1, 2, 3});
  for (size_t n = 0; n < whole.size(); ++n)
    EXPECT_FALSE(read(Bytes(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(n))).ok()) << n;
}

TEST(Open, WhatIsNoSampleSetIsSaid) {
  const TestFolder f;
  expect_error(SampleSet::open(f / "missing"), "missing");
  expect_error(SampleSet::open(f.write("x.dat", "hello")), "x.dat");
  expect_error(SampleSet::open(f.write("x.gz", Bytes{0x1f, 0x8b, 8, 0, 1, 2, 3})), "x.gz");
  EXPECT_EQ(SampleSet::open(f.write("picture", picture(1))).value().size(), 1u);  // told by its content
}

TEST(Set, CountShuffleAndPick) {
  const TestFolder f;
  const std::string path = f.write("x.npy", encode_npy(make_array(ArrayType::kF32, {50, 1})));
  SampleOptions options;
  options.count = 10;
  EXPECT_EQ(names(SampleSet::open(path, options).value()).back(), "x.npy[9]");
  options.shuffle = 7;
  const auto a = names(SampleSet::open(path, options).value());
  EXPECT_EQ(a.size(), 10u);
  EXPECT_EQ(a, names(SampleSet::open(path, options).value()));
  options.shuffle = 8;
  EXPECT_NE(a, names(SampleSet::open(path, options).value()));
  options.count = 0;
  const auto all = names(SampleSet::open(path, options).value());
  EXPECT_EQ(std::set<std::string>(all.begin(), all.end()).size(), 50u);
}

TEST(Set, SplitsAreDisjointAndSeeded) {
  const TestFolder f;
  const SampleSet set = SampleSet::open(f.write("x.npy", encode_npy(make_array(ArrayType::kF32, {50, 1})))).value();
  const auto sizes = [&](size_t c, size_t h) {
    const SampleSplit s = split(set, c, h, 3).value();
    std::set<std::string> seen;
    for (const auto& part : {s.calibration, s.held_back}) {
      for (const std::string& n : names(part)) EXPECT_TRUE(seen.insert(n).second) << n;
    }
    return std::pair(s.calibration.size(), s.held_back.size());
  };
  EXPECT_EQ(sizes(10, 20), std::pair(size_t{10}, size_t{20}));
  EXPECT_EQ(sizes(10, 1000), std::pair(size_t{10}, size_t{40}));
  EXPECT_EQ(sizes(100, 100), std::pair(size_t{25}, size_t{25}));
  EXPECT_EQ(sizes(100, 10), std::pair(size_t{40}, size_t{10}));
  EXPECT_EQ(sizes(SIZE_MAX, SIZE_MAX), std::pair(size_t{25}, size_t{25}));
  EXPECT_EQ(sizes(0, 1000), std::pair(size_t{0}, size_t{50}));
  EXPECT_EQ(names(split(set, 10, 5, 3).value().calibration), names(split(set, 10, 40, 3).value().calibration));
  EXPECT_NE(names(split(set, 10, 5, 3).value().calibration), names(split(set, 10, 5, 4).value().calibration));
  expect_error(split(set.first(1), 1, 1, 0), "two samples");
}

TEST(ClassNames, WordNetIdsAreDropped) {
  const TestFolder f;
  const auto read = read_class_names(f.write("c.txt", "n01440764 tench, Tinca tinca\r\nnever\n\n"));
  EXPECT_EQ(read.value(), (std::vector<std::string>{"tench, Tinca tinca", "never"}));
  expect_error(read_class_names(f.write("e.txt", "\n\n")), "names no classes");
}

}  // namespace
}  // namespace pith
