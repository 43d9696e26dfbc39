#include "manifest.h"

#include <cstdint>

#include "check.h"

namespace {

const char kText[] = R"({
 "bmopt_bundle": 1, "bmopt": "0.1.0", "name": "n", "platform": "x86_64-linux", "new": [{}],
 "models": [{
  "name": "m", "target": "ort-int8:x86-vnni", "engine": "onnxruntime", "file": "models/m/model.onnx",
  "digest": "d", "source": null,
  "needs": {"cpu": ["avx512f", ["avx512_vnni", "avx_vnni"]], "gpu": [],
            "runtime": {"name": "onnxruntime", "min": "1.23", "below": "", "made_with": "1.32.0"}},
  "session": {"k": "v"},
  "inputs": [{"name": "x", "dtype": "float32", "shape": [-1, 3], "layout": null},
             {"name": "w", "dtype": "int64", "shape": []}],
  "outputs": [{"name": "y", "dtype": "float16", "shape": [-1]}],
  "golden": [{"inputs": [{"name": "w", "file": "golden/1"}, {"name": "x", "file": "golden/0"}],
              "outputs": [{"name": "y", "file": "golden/2", "tolerance": 0.5, "step": 0.25}]}]
 }],
 "preprocess": {"input": "x", "resize": 256, "crop": [224, 200], "mean": [0.5, 1], "std": 2,
                "channels": "RGB", "layout": "NCHW", "scale": 0.25, "dtype": "float32"},
 "labels": "labels.txt",
 "files": {
  "models/m/model.onnx": {"sha256": "SUM", "bytes": 3}, "labels.txt": {"sha256": "SUM", "bytes": 4},
  "golden/0": {"sha256": "SUM", "bytes": 0}, "golden/1": {"sha256": "SUM", "bytes": 0},
  "golden/2": {"sha256": "SUM", "bytes": 0}
 }
})";

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  CHECK(at != text.npos);
  return text.replace(at, from.size(), to);
}

std::string valid() {
  std::string text = kText;
  while (text.find("SUM") != text.npos) text = replaced(text, "SUM", std::string(64, 'a'));
  return text;
}

void check_refused(const std::string& from, const std::string& to, const std::string& part) {
  CHECK_FAILS(BM_BAD_INPUT, part, bm::parse_manifest(replaced(valid(), from, to)));
}

}  // namespace

TEST(manifest_model) {
  const bm::Manifest manifest = bm::parse_manifest(valid());
  const bm::ModelSpec& model = manifest.models.at(0);
  CHECK(manifest.name == "n" && manifest.platform == "x86_64-linux");
  CHECK(model.cpu.size() == 2 && model.cpu[1].size() == 2 && model.cpu[0][0] == "avx512f");
  CHECK(model.runtime.min == "1.23" && model.runtime.below.empty());
  CHECK(model.session.size() == 1 && model.session[0].second == "v");
  CHECK(model.inputs[0].shape == (std::vector<std::int64_t>{-1, 3}));
  CHECK(model.inputs[1].dtype == BM_INT64 && model.inputs[1].shape.empty());
  CHECK(model.outputs[0].dtype == BM_FLOAT16);
  CHECK(model.golden[0].inputs[0].file == "golden/0");
  CHECK(model.golden[0].outputs[0].tolerance == 0.5 && model.golden[0].outputs[0].step == 0.25);
}

TEST(manifest_rest) {
  const bm::Manifest manifest = bm::parse_manifest(valid());
  CHECK(manifest.labels == "labels.txt");
  CHECK(manifest.files.size() == 5 && manifest.files[0].path == "golden/0");
  const bm::PreprocessSpec& spec = manifest.preprocess.value();
  CHECK(spec.resize == std::vector<std::int64_t>{256});
  CHECK(spec.crop == (std::vector<std::int64_t>{224, 200}));
  CHECK(spec.mean.size() == 2 && spec.std.size() == 1 && spec.scale == 0.25);
}

TEST(manifest_optional_parts) {
  const std::string bare = replaced(valid(), "\"labels\": \"labels.txt\"", "\"labels\": null");
  CHECK(bm::parse_manifest(bare).labels.empty());
  CHECK(!bm::parse_manifest(replaced(valid(), "\"preprocess\": {", "\"other\": {")).preprocess);
}

TEST(manifest_refuses_paths) {
  const std::string file = "\"file\": \"models/m/model.onnx\"";
  check_refused(file, "\"file\": \"../model.onnx\"", "inside the bundle");
  check_refused(file, "\"file\": \"/etc/passwd\"", "inside the bundle");
  check_refused(file, "\"file\": \"models/./x\"", "inside the bundle");
  check_refused(file, "\"file\": \"models\\\\x\"", "backslash");
  check_refused(file, "\"file\": \"models/x\\u0000\"", "NUL");
  check_refused(file, "\"file\": \"models/other\"", "not listed");
  check_refused("\"golden/0\"}", "\"golden/../0\"}", "inside the bundle");
  check_refused("\"labels.txt\": {", "\"../labels.txt\": {", "inside the bundle");
  check_refused("\"labels.txt\": {", "\"SHA256SUMS\": {", "must not be listed");
}

TEST(manifest_refuses_wrong_values) {
  check_refused("\"bmopt_bundle\": 1", "\"bmopt_bundle\": 2", "schema 2");
  check_refused("\"bmopt_bundle\": 1", "\"other\": 1", "no manifest of a bundle");
  check_refused("x86_64-linux", "vax", "platform");
  check_refused("\"onnxruntime\", \"file\"", "\"../x\", \"file\"", "no name of an engine");
  check_refused("float32\", \"shape\"", "complex64\", \"shape\"", "dtype");
  check_refused("[-1, 3]", "[-2, 3]", "below -1");
  check_refused("[-1, 3]", "[1.5]", "whole");
  check_refused("[-1, 3]", "[1,1,1,1,1,1,1,1,1]", "more than 8 axes");
  check_refused("\"name\": \"w\", \"dtype\"", "\"name\": \"x\", \"dtype\"", "twice");
  check_refused("\"tolerance\": 0.5", "\"tolerance\": -1", "negative");
  check_refused("\"tolerance\": 0.5", "\"toleranz\": 1", "tolerance is missing");
  check_refused("\"name\": \"w\", \"file\"", "\"name\": \"v\", \"file\"", "each input once");
  check_refused("\"bytes\": 3", "\"bytes\": -3", "negative");
  check_refused(std::string(64, 'a'), "abc", "SHA-256");
  check_refused("[\"avx512_vnni\", \"avx_vnni\"]", "[]", "empty list");
  check_refused("\"std\": 2", "\"std\": 0", "std");
  check_refused("\"crop\": [224, 200]", "\"crop\": [0, 200]", "crop");
  check_refused("\"session\": {\"k\": \"v\"}", "\"session\": {\"k\": 1}", "expected a text");
  CHECK_FAILS(BM_BAD_INPUT, "expected an object", bm::parse_manifest("[]"));
}
