// Tensors in every stored form, hostile sizes, external data, files that aren't models.
#include "importers/onnx/parse.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "importers/onnx/element_types.h"
#include "importers/onnx/tensor_proto.h"
#include "importers/onnx/testing/checks.h"

namespace pith::importers {
namespace {

using ::onnx::TensorProto;
using testing::node;
using testing::value;

TensorProto proto(int32_t type, std::vector<int64_t> dims) {
  TensorProto p;
  p.set_name("t");
  p.set_data_type(type);
  for (const int64_t d : dims) p.add_dims(d);
  return p;
}

std::string refusal(const TensorProto& p, const std::string& folder = "") {
  const auto t = decode_tensor(p, folder);
  return t.ok() ? "" : t.error().message;
}

struct Folder {
  std::filesystem::path path = std::filesystem::temp_directory_path() / ("pith_parse_test_" + std::to_string(::getpid()));
  Folder() { std::filesystem::create_directories(path / "model"); }
  ~Folder() { std::filesystem::remove_all(path); }
  void write(const std::string& name, const std::string& bytes) const { std::ofstream(path / name) << bytes; }
};

TensorProto external(const std::string& location, const std::string& offset = "", const std::string& length = "") {
  TensorProto p = proto(kUint8, {4});
  p.set_data_location(TensorProto::EXTERNAL);
  const auto add = [&](const char* key, const std::string& text) {
    if (text.empty()) return;
    p.add_external_data()->set_key(key);
    p.mutable_external_data(p.external_data_size() - 1)->set_value(text);
  };
  add("location", location);
  add("offset", offset);
  add("length", length);
  return p;
}

TEST(Tensor, WidensEveryStoredType) {
  TensorProto half = proto(kFloat16, {3});
  for (const int bits : {0x3c00, 0xc000, 0x7c00}) half.add_int32_data(bits);
  const auto h = decode_tensor(half, "");
  ASSERT_TRUE(h.ok());
  EXPECT_EQ(h.value().tensor.dtype(), ir::DType::kF32);
  EXPECT_EQ(h.value().tensor.at(0), 1);
  EXPECT_EQ(h.value().tensor.at(1), -2);
  EXPECT_TRUE(std::isinf(h.value().tensor.at(2)));

  TensorProto doubles = proto(kDouble, {1});
  doubles.add_double_data(0.25);
  EXPECT_EQ(decode_tensor(doubles, "").value().tensor.at(0), 0.25);

  TensorProto wide = proto(kUint32, {1});
  wide.add_uint64_data(4000000000u);
  EXPECT_EQ(decode_tensor(wide, "").value().tensor.dtype(), ir::DType::kI64);
  EXPECT_EQ(decode_tensor(wide, "").value().tensor.at(0), 4000000000.0);

  TensorProto nibbles = proto(kInt4, {3});
  nibbles.set_raw_data(std::string("\x9f\x07", 2));
  const auto n = decode_tensor(nibbles, "").value().tensor;
  EXPECT_EQ(n.dtype(), ir::DType::kI8);
  EXPECT_EQ(std::vector<double>({n.at(0), n.at(1), n.at(2)}), std::vector<double>({-1, -7, 7}));

  TensorProto scalar = proto(kInt16, {});
  scalar.set_raw_data(std::string("\xfe\xff", 2));
  EXPECT_EQ(decode_tensor(scalar, "").value().tensor.at(0), -2);
}

TEST(Tensor, SmallFloats) {
  EXPECT_EQ(from_half(0x0001), std::ldexp(1.0f, -24));
  EXPECT_EQ(from_bfloat16(0xc040), -3.0f);
  EXPECT_EQ(from_float8(kFloat8E4M3FN, 0x7e), 448.0f);
  EXPECT_TRUE(std::isnan(from_float8(kFloat8E4M3FN, 0x7f)));
  EXPECT_EQ(from_float8(kFloat8E5M2, 0x7b), 57344.0f);
  EXPECT_TRUE(std::isinf(from_float8(kFloat8E5M2, 0x7c)));
  EXPECT_EQ(from_float8(kFloat8E4M3FNUZ, 0x7f), 240.0f);
  EXPECT_TRUE(std::isnan(from_float8(kFloat8E5M2FNUZ, 0x80)));
  EXPECT_EQ(from_float8(kFloat8E8M0, 127), 1.0f);
  EXPECT_EQ(from_float4(7), 6.0f);
  EXPECT_EQ(from_float4(9), -0.5f);
}

TEST(Tensor, KeepsWhatItCannotHoldForWhoeverAsks) {
  const auto t = decode_tensor(proto(kString, {2}), "");
  ASSERT_TRUE(t.ok());
  EXPECT_EQ(t.value().refusal, "tensors of string aren't supported");
}

TEST(Tensor, RefusesBytesThatDontMatchTheShape) {
  TensorProto p = proto(kFloat, {2, 2});
  p.set_raw_data(std::string(12, '\0'));
  EXPECT_NE(refusal(p).find("has 12 bytes of data where its shape needs 16"), std::string::npos);
  EXPECT_NE(refusal(proto(kFloat, {-1})).find("states a dimension of -1"), std::string::npos);
  EXPECT_NE(refusal(proto(kFloat, {int64_t{1} << 40, int64_t{1} << 40})).find("more than 2^33 elements"), std::string::npos);
  EXPECT_NE(refusal(proto(kFloat, {0, int64_t{1} << 62, 4})).find("more than 2^33"), std::string::npos);
}

TEST(Tensor, ReadsExternalDataBesideTheModel) {
  const Folder folder;
  folder.write("model/weights.bin", "0123456789");
  const auto t = decode_tensor(external("weights.bin", "3", "4"), (folder.path / "model").string());
  ASSERT_TRUE(t.ok()) << t.error().message;
  EXPECT_EQ(t.value().tensor.at(0), '3');
}

TEST(Tensor, RefusesExternalDataElsewhere) {
  const Folder folder;
  folder.write("secret", "0123456789");
  folder.write("model/weights.bin", "0123456789");
  std::filesystem::create_symlink("../secret", folder.path / "model" / "link");
  const std::string inside = (folder.path / "model").string();
  EXPECT_NE(refusal(external("../secret"), inside).find("outside the model's folder"), std::string::npos);
  EXPECT_NE(refusal(external("link"), inside).find("outside the model's folder"), std::string::npos);
  EXPECT_NE(refusal(external((folder.path / "secret").string()), inside).find("outside the model's folder"), std::string::npos);
  EXPECT_NE(refusal(external(""), inside).find("outside the model's folder"), std::string::npos);
  EXPECT_NE(refusal(external("missing.bin"), inside).find("can't be read"), std::string::npos);
  EXPECT_NE(refusal(external("weights.bin", "8"), inside).find("needs 4 bytes at 8"), std::string::npos);
  EXPECT_NE(refusal(external("weights.bin", "999999999999999999"), inside).find("which has 10"), std::string::npos);
  EXPECT_NE(refusal(external("weights.bin", "-1"), inside).find("isn't a number"), std::string::npos);
  EXPECT_NE(refusal(external("weights.bin", "0", "5"), inside).find("stated length 5"), std::string::npos);
  EXPECT_NE(refusal(external("weights.bin")).find("give the model as a file"), std::string::npos);
}

TEST(Tensor, MakesSparseTensorsDense) {
  ::onnx::SparseTensorProto sparse;
  *sparse.mutable_values() = proto(kFloat, {2});
  sparse.mutable_values()->add_float_data(5);
  sparse.mutable_values()->add_float_data(6);
  *sparse.mutable_indices() = proto(kInt64, {2, 2});
  for (const int64_t i : {0, 1, 1, 2}) sparse.mutable_indices()->add_int64_data(i);
  sparse.add_dims(2);
  sparse.add_dims(3);
  const auto t = decode_sparse(sparse, "");
  ASSERT_TRUE(t.ok());
  testing::expect_values(t.value().tensor, {2, 3}, {0, 5, 0, 0, 0, 6});
  sparse.mutable_indices()->set_int64_data(3, 3);
  EXPECT_FALSE(decode_sparse(sparse, "").ok());
}

std::string model_refusal(const std::string& bytes) {
  const auto m = parse_model({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "");
  return m.ok() ? "" : m.error().message;
}

TEST(Model, SaysWhatAFileLooksLike) {
  EXPECT_NE(model_refusal("").find("the file is empty"), std::string::npos);
  EXPECT_NE(model_refusal("version https://git-lfs.github.com/spec/v1").find("git lfs pull"), std::string::npos);
  EXPECT_NE(model_refusal("PK\x03\x04 archive").find("torch.onnx.export"), std::string::npos);
  EXPECT_NE(model_refusal("<html>").find("web page"), std::string::npos);
  EXPECT_NE(model_refusal("hello").find("isn't an ONNX file"), std::string::npos);
  EXPECT_NE(model_refusal(std::string("\x08\x07", 2)).find("holds no graph"), std::string::npos);
}

TEST(Model, ReadsBackWhatTheTestsWrite) {
  for (const SourceModel& m : testing::seed_models()) {
    const auto bytes = testing::write_model(m);
    const auto back = parse_model(bytes, "");
    ASSERT_TRUE(back.ok()) << back.error().message;
    EXPECT_EQ(testing::write_model(*back), bytes);
  }
}

// An attribute default of a function is newer than Debian's onnx.proto; it travels as an unknown field.
TEST(Model, ReadsFunctionDefaultsFromUnknownFields) {
  ::onnx::ModelProto p;
  p.set_ir_version(9);
  p.mutable_graph();
  auto* f = p.add_functions();
  f->set_name("F");
  ::onnx::AttributeProto a;
  a.set_name("by");
  a.set_type(::onnx::AttributeProto::FLOAT);
  a.set_f(3);
  f->mutable_unknown_fields()->AddLengthDelimited(11, a.SerializeAsString());
  const std::string bytes = p.SerializeAsString();
  const auto m = parse_model({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "");
  ASSERT_TRUE(m.ok());
  EXPECT_EQ(std::get<double>(m.value().functions[0].defaults.at("by")), 3);
}

}  // namespace
}  // namespace pith::importers
