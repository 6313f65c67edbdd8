#include "data/array.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "data/test_files.h"

namespace pith {
namespace {

// An NPY file with the given header text and data.
Bytes npy(int version, std::string header, const Bytes& data) {
  Bytes out = {0x93, 'N', 'U', 'M', 'P', 'Y', static_cast<uint8_t>(version), 0};
  header += '\n';
  const auto n = static_cast<uint32_t>(header.size());
  out.push_back(static_cast<uint8_t>(n));
  out.push_back(static_cast<uint8_t>(n >> 8));
  if (version > 1) out.insert(out.end(), {0, 0});
  out.insert(out.end(), header.begin(), header.end());
  out.insert(out.end(), data.begin(), data.end());
  return out;
}

template <typename T>
Bytes bytes_of(const std::vector<T>& values) {
  Bytes out(values.size() * sizeof(T));
  std::memcpy(out.data(), values.data(), out.size());
  return out;
}

std::string header_of(const std::string& descr, const std::string& shape, const std::string& fortran = "False") {
  return "{'descr': '" + descr + "', 'fortran_order': " + fortran + ", 'shape': " + shape + ", }";
}

TEST(Npy, EveryTypeWritesAndReadsBack) {
  for (const auto type : {ArrayType::kF32, ArrayType::kU8, ArrayType::kI8, ArrayType::kI16, ArrayType::kI32,
                          ArrayType::kI64, ArrayType::kBool}) {
    for (const std::vector<int64_t>& shape : std::vector<std::vector<int64_t>>{{}, {3}, {2, 3}, {2, 1, 2}, {0, 4}}) {
      Array a = make_array(type, shape);
      for (size_t i = 0; i < a.bytes.size(); ++i) a.bytes[i] = static_cast<uint8_t>(i % 2);
      const Bytes file = encode_npy(a);
      EXPECT_EQ((file.size() - a.bytes.size()) % 64, 0u);
      const auto b = parse_npy(file, "x.npy");
      ASSERT_TRUE(b.ok()) << b.error().message;
      EXPECT_EQ(b->type, type);
      EXPECT_EQ(b->shape, shape);
      EXPECT_EQ(b->bytes, a.bytes);
    }
  }
}

TEST(Npy, ReadsAllVersionsAndBothOrders) {
  const Bytes data = bytes_of<float>({0, 1, 2, 3, 4, 5});
  for (const int version : {1, 2, 3}) {
    const auto a = parse_npy(npy(version, header_of("<f4", "(2, 3)"), data), "x");
    ASSERT_TRUE(a.ok()) << a.error().message;
    EXPECT_EQ(to_floats(*a), (std::vector<float>{0, 1, 2, 3, 4, 5}));
  }
  const auto f = parse_npy(npy(1, header_of("<f4", "(2, 3)", "True"), data), "x");
  ASSERT_TRUE(f.ok());
  EXPECT_EQ(to_floats(*f), (std::vector<float>{0, 2, 4, 1, 3, 5}));
  // three axes: element (i, j, k) lies at i + 2 j + 2 * 3 k
  std::vector<int32_t> values(12);
  for (int i = 0; i < 12; ++i) values[static_cast<size_t>(i)] = i;
  const auto g = parse_npy(npy(1, header_of("<i4", "(2, 3, 2)", "True"), bytes_of(values)), "x");
  ASSERT_TRUE(g.ok());
  EXPECT_EQ(to_integers(*g), (std::vector<int64_t>{0, 6, 2, 8, 4, 10, 1, 7, 3, 9, 5, 11}));
}

TEST(Npy, ConvertsWhatOurTypesLack) {
  const auto half =
      parse_npy(npy(1, header_of("<f2", "(5,)"), bytes_of<uint16_t>({0x3c00, 0xc000, 1, 0x7c00, 0x83ff})), "x");
  ASSERT_TRUE(half.ok());
  EXPECT_EQ(to_floats(*half),
            (std::vector<float>{1, -2, 0x1p-24f, std::numeric_limits<float>::infinity(), -1023 * 0x1p-24f}));
  const auto wide = parse_npy(npy(1, header_of("<f8", "(2,)"), bytes_of<double>({0.1, -3})), "x");
  EXPECT_EQ(to_floats(wide.value()), (std::vector<float>{0.1f, -3}));
  const auto u16 = parse_npy(npy(1, header_of("<u2", "(2,)"), bytes_of<uint16_t>({65535, 1})), "x");
  EXPECT_EQ(u16.value().type, ArrayType::kI32);
  EXPECT_EQ(to_integers(*u16), (std::vector<int64_t>{65535, 1}));
  const auto u32 = parse_npy(npy(1, header_of("<u4", "(1,)"), bytes_of<uint32_t>({4000000000u})), "x");
  EXPECT_EQ(to_integers(u32.value()), (std::vector<int64_t>{4000000000}));
  const auto u64 = parse_npy(npy(1, header_of("<u8", "(1,)"), bytes_of<uint64_t>({7})), "x");
  EXPECT_EQ(to_integers(u64.value()), (std::vector<int64_t>{7}));
  const auto flag = parse_npy(npy(1, header_of("|b1", "(3,)"), {0, 1, 255}), "x");
  EXPECT_EQ(flag.value().bytes, (Bytes{0, 1, 1}));
}

TEST(Npy, HostileFilesAreRefused) {
  const Bytes four = bytes_of<float>({1});
  expect_error(parse_npy(Bytes{}, "x.npy"), "x.npy");
  expect_error(parse_npy(Bytes{'P', 'K', 3, 4, 0, 0, 0, 0, 0, 0, 0, 0}, "x"), "isn't an npy");
  expect_error(parse_npy(npy(4, header_of("<f4", "(1,)"), four), "x"), "version 4");
  Bytes cut = npy(1, header_of("<f4", "(1,)"), four);
  cut.resize(20);
  expect_error(parse_npy(cut, "x"), "ends inside its header");
  expect_error(parse_npy(npy(1, header_of("<f4", "(2,)"), four), "x"), "copy the file again");
  expect_error(parse_npy(npy(1, header_of("<f4", "(4611686018427387904, 4)"), four), "x"), "impossible shape");
  expect_error(parse_npy(npy(1, header_of("<f4", "(-1,)"), four), "x"), "damaged");
  expect_error(parse_npy(npy(1, header_of("<f4", "(99999999999999999999,)"), four), "x"), "damaged");
  expect_error(parse_npy(npy(1, header_of(">f4", "(1,)"), four), "x"), ">f4");
  expect_error(parse_npy(npy(1, header_of("|O", "(1,)"), four), "x"), "|O");
  expect_error(parse_npy(npy(1, header_of("<c8", "(1,)"), four), "x"), "<c8");
  expect_error(parse_npy(npy(1, "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", four), "x"),
               "structured");
  expect_error(parse_npy(npy(1, "{'descr': '<f4', 'shape': (1,)}", four), "x"), "damaged");
  expect_error(parse_npy(npy(1, "{'descr': '<f4", four), "x"), "damaged");
  expect_error(parse_npy(npy(1, std::string(500, '('), four), "x"), "damaged");
  expect_error(parse_npy(npy(1, header_of("<u8", "(1,)"), Bytes(8, 0xff)), "x"), "beyond int64");
}

TEST(Npy, CutAtEveryByteNeverCrashes) {
  const Bytes whole = encode_npy(make_array({2, 2}, std::vector<float>{1, 2, 3, 4}));
  for (size_t n = 0; n < whole.size(); ++n) EXPECT_FALSE(parse_npy(std::span(whole).first(n), "x").ok()) << n;
}

TEST(Npy, DamagedBytesNeverCrash) {
  Random random(test_seed(1));
  const Bytes whole = encode_npy(make_array({2, 2}, std::vector<float>{1, 2, 3, 4}));
  for (int i = 0; i < 2000; ++i) {
    Bytes bad = whole;
    for (int k = 0; k < 3; ++k) bad[static_cast<size_t>(random.integer(0, 127))] = static_cast<uint8_t>(random.next());
    const auto a = parse_npy(bad, "x");
    if (a.ok()) {
      EXPECT_EQ(a->bytes.size(), a->elements() * type_size(a->type));
    }
  }
}

TEST(Npz, StoredAndDeflatedMembersInOrder) {
  const Array a = make_array({2, 2}, std::vector<float>{1, 2, 3, 4});
  Array b = make_array(ArrayType::kI64, {1000});
  b.as<int64_t>()[999] = -5;
  for (const Packing packing : {Packing::kZip, Packing::kZipStored}) {
    const Bytes file = pack(packing, {{"input_ids.npy", encode_npy(b)}, {"x.npy", encode_npy(a)}});
    const auto arrays = parse_npz(file, "z.npz");
    ASSERT_TRUE(arrays.ok()) << arrays.error().message;
    ASSERT_EQ(arrays->size(), 2u);
    EXPECT_EQ(arrays->at(0).name, "input_ids");
    EXPECT_EQ(arrays->at(0).array.bytes, b.bytes);
    EXPECT_EQ(arrays->at(1).name, "x");
    EXPECT_EQ(arrays->at(1).array.bytes, a.bytes);
  }
}

TEST(Npz, HostileFilesAreRefused) {
  expect_error(parse_npz(Bytes{1, 2, 3}, "z.npz"), "z.npz");
  expect_error(parse_npz(pack(Packing::kZip, {}), "z.npz"), "z.npz");
  expect_error(parse_npz(pack(Packing::kZip, {{"a.npy", {1, 2}}}), "z.npz"), "z.npz:a.npy");
  const Bytes whole = pack(Packing::kZip, {{"a.npy", encode_npy(make_array(ArrayType::kF32, {100}))}});
  for (size_t n = 0; n < whole.size() - 30; n += 7) {
    EXPECT_FALSE(parse_npz(std::span(whole).first(n), "z.npz").ok()) << n;
  }
}

TEST(Raw, ShapeMustFitTheFile) {
  const TestFolder folder;
  const std::string path = folder.write("x.bin", bytes_of<float>({1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(read_raw(path, ArrayType::kF32).value().shape, (std::vector<int64_t>{6}));
  EXPECT_EQ(read_raw(path, ArrayType::kF32, {2, 3}).value().shape, (std::vector<int64_t>{2, 3}));
  expect_error(read_raw(path, ArrayType::kF32, {5}), "24 bytes");
  expect_error(read_raw(path, ArrayType::kF32, {INT64_MAX, 8}), "too many");
  expect_error(read_raw(folder.write("y.bin", Bytes(7)), ArrayType::kF32), "not a multiple");
}

TEST(Array, ShapesAndTypesAsText) {
  EXPECT_EQ(parse_shape("3x224x224").value(), (std::vector<int64_t>{3, 224, 224}));
  EXPECT_EQ(parse_shape("1,5").value(), (std::vector<int64_t>{1, 5}));
  for (const char* bad : {"", "x", "3x", "3x-1", "3x0", "a", "99999999999999999999"})
    expect_error(parse_shape(bad), "shape");
  EXPECT_EQ(shape_text(std::vector<int64_t>{1, 2}), "1x2");
  EXPECT_EQ(parse_array_type("float32").value(), ArrayType::kF32);
  EXPECT_EQ(parse_array_type("i64").value(), ArrayType::kI64);
  expect_error(parse_array_type("f16"), "f16");
}

TEST(Array, ConvertsAndSlices) {
  const Array a = make_array({2, 3}, std::vector<float>{0.5f, 1.5f, -2.6f, 1e30f, -1e30f, NAN});
  EXPECT_EQ(to_integers(a), (std::vector<int64_t>{0, 2, -3, INT64_MAX, INT64_MIN, 0}));
  const Array s = slice(a, 1);
  EXPECT_EQ(s.shape, (std::vector<int64_t>{3}));
  EXPECT_EQ(s.f32()[0], 1e30f);
}

}  // namespace
}  // namespace pith
