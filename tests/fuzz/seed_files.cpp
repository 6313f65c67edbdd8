#include "tests/fuzz/seed_files.h"

#include <cstdio>
#include <cstring>
#include <string>

#include "data/array.h"

namespace pith::fuzz {
namespace {

using namespace std::string_literals;

std::string little(uint64_t value, int bytes) {
  std::string out;
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(i < 8 ? value >> (8 * i) : 0);
  return out;
}

std::string safetensors() {
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"a.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]},"c":{"dtype":"I64","shape":[1],"data_offsets":[32,40]}})";
  return little(header.size(), 8) + header + std::string(40, 'x');
}

// What torch.save writes for {"w": a tensor of 2 x 2}: the opcodes of Python's pickletools, by hand.
std::string pickle() {
  return "\x80\x02}q\x00X\x01\x00\x00\x00wq\x01"
         "ctorch._utils\n_rebuild_tensor_v2\nq\x02((X\x07\x00\x00\x00storageq\x03"
         "ctorch\nFloatStorage\nq\x04X\x01\x00\x00\x00"
         "0q\x05X\x03\x00\x00\x00"
         "cpuq\x06K\x04tq\x07QK\x00K\x02K\x02\x86q\x08K\x02K\x01\x86q\t\x89"
         "ccollections\nOrderedDict\nq\n)Rq\x0btq\x0cRq\rs."s;
}

std::string zip(const std::vector<std::pair<std::string, std::string>>& entries) {
  std::string out, directory;
  for (const auto& [name, data] : entries) {
    const std::string sizes = little(0, 4) + little(data.size(), 4) + little(data.size(), 4) + little(name.size(), 2) + little(0, 2);
    directory += "PK\x01\x02"s + little(0, 12) + sizes + little(0, 12) + little(out.size(), 4) + name;
    out += "PK\x03\x04"s + little(0, 10) + sizes + name + data;
  }
  const size_t start = out.size();
  return out + directory + "PK\x05\x06"s + little(0, 4) + little(entries.size(), 2) + little(entries.size(), 2) + little(directory.size(), 4) + little(start, 4) + little(0, 2);
}

std::string torch_archive() { return zip({{"archive/data.pkl", pickle()}, {"archive/data/0", std::string(16, 'y')}, {"archive/version", "3\n"}}); }

const char* const kUnigrams =
    R"({"normalizer":null,"pre_tokenizer":{"type":"Metaspace","replacement":"▁","prepend_scheme":"always","split":true},"post_processor":null,"added_tokens":[{"id":0,"content":"<unk>","special":true}],"model":{"type":"Unigram","unk_id":0,"vocab":[["<unk>",0.0],["▁",-3.0],["a",-2.0],["ab",-4.0]]}})";
const char* const kPairs =
    R"({"normalizer":null,"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true},"post_processor":{"type":"ByteLevel","trim_offsets":true},"added_tokens":[],"model":{"type":"BPE","unk_token":null,"vocab":{"t":0,"h":1,"e":2,"th":3,"the":4},"merges":["t h","th e"]}})";
const char* const kPieces =
    R"({"normalizer":{"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":true,"strip_accents":null,"lowercase":true},"pre_tokenizer":{"type":"BertPreTokenizer"},"post_processor":{"type":"BertProcessing","sep":["[SEP]",2],"cls":["[CLS]",1]},"added_tokens":[],"model":{"type":"WordPiece","unk_token":"[UNK]","continuing_subword_prefix":"##","max_input_chars_per_word":100,"vocab":{"[UNK]":0,"[CLS]":1,"[SEP]":2,"run":3,"##s":4}}})";

// Protobuf by hand: pieces of (text, score, type), then the trainer's model type.
std::string sentencepiece() {
  std::string out;
  const auto piece = [&](const std::string& text, float score, char type) {
    uint32_t bits;
    std::memcpy(&bits, &score, 4);
    const std::string body = "\x0a"s + static_cast<char>(text.size()) + text + "\x15"s + little(bits, 4) + "\x18"s + type;
    out += "\x0a"s + static_cast<char>(body.size()) + body;
  };
  piece("<unk>", 0, 2), piece("<s>", 0, 3), piece("</s>", 0, 3), piece("a", -1, 1), piece("ab", -2, 1);
  return out + "\x12\x02\x18\x01\x1a\x02\x18\x01"s;
}

std::string llama2c() {
  std::string out(4, '\0');
  const auto piece = [&](const std::string& text) { out += little(0, 4) + little(text.size(), 4) + text; };
  piece("<unk>"), piece("<s>"), piece("</s>");
  for (int b = 0; b < 257; ++b) piece(b < 256 ? std::string(1, static_cast<char>(b)) : "ab");
  return out;
}

std::string npy() {
  const float values[6] = {0, 1, 2, 3, 4, 5};
  const std::vector<uint8_t> bytes = encode_npy(make_array({2, 3}, values));
  return std::string(bytes.begin(), bytes.end());
}

std::string wav() {
  return "RIFF"s + little(44, 4) + "WAVEfmt " + little(16, 4) + little(1, 2) + little(1, 2) + little(16000, 4) + little(32000, 4) + little(2, 2) + little(16, 2) + "data" + little(8, 4) + "abcdefgh";
}

}  // namespace

std::vector<std::vector<uint8_t>> seed_files() {
  std::vector<std::vector<uint8_t>> found;
  const auto add = [&](FileKind kind, const std::string& text) {
    std::vector<uint8_t> bytes = {static_cast<uint8_t>(kind)};
    bytes.insert(bytes.end(), text.begin(), text.end());
    found.push_back(std::move(bytes));
  };
  add(FileKind::kSafetensors, safetensors());
  add(FileKind::kTorchArchive, torch_archive());
  for (const char* text : {kUnigrams, kPairs, kPieces}) add(FileKind::kTokenizerJson, text);
  add(FileKind::kVocabulary, "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nrun\n##ning\n##s\n");
  add(FileKind::kSentencepiece, sentencepiece());
  add(FileKind::kLlama2c, llama2c());
  add(FileKind::kNpy, npy());
  add(FileKind::kWav, wav());
  add(FileKind::kPnm, "P6\n# a comment\n2 2\n255\nabcdefghijkl");
  add(FileKind::kPnm, "P5 3 1 255\nabc");
  add(FileKind::kVideo, "YUV4MPEG2 W64 H32 F25:1 Ip A1:1 C420jpeg XYSCSS=420JPEG XCOLORRANGE=FULL");
  add(FileKind::kFrames, "10:20:3");
  add(FileKind::kPreprocess, "image:rgb:224x224:crop:mean=123.675,116.28,103.53:scale=0.01712475,0.017507,0.01742919");
  add(FileKind::kPreprocess, "audio:16000x16000:mfcc=10:peak");
  return found;
}

}  // namespace pith::fuzz
