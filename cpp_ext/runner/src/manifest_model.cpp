#include <algorithm>
#include <cstdint>

#include "dtype.h"
#include "failure.h"
#include "manifest_parts.h"

namespace bm {
namespace {

constexpr std::size_t kMostTensors = 1024;

std::string read_engine(const Fields& fields) {
  std::string engine = fields.text("engine");
  // It becomes part of a file's name.
  const char* letters = "abcdefghijklmnopqrstuvwxyz0123456789_";
  if (engine.empty() || engine.size() > 64 || engine.find_first_not_of(letters) != engine.npos)
    bad_input(fields.name("engine") + " is no name of an engine");
  return engine;
}

std::vector<std::string> read_alternatives(const Json& item, const std::string& where) {
  if (item.kind == Json::Kind::kText) return {plain_text(item, where)};
  std::vector<std::string> names;
  for (const Json& name : item.as_list(where)) names.push_back(plain_text(name, where));
  if (names.empty()) bad_input(where + " has an empty list");
  return names;
}

void read_needs(const Fields& fields, ModelSpec& model) {
  for (const Json& item : fields.take("cpu").as_list(fields.name("cpu")))
    model.cpu.push_back(read_alternatives(item, fields.name("cpu")));
  model.gpu = fields.texts("gpu");
  const Fields runtime = fields.child("runtime");
  model.runtime = {runtime.text("name"), runtime.text_or_empty("min"),
                   runtime.text_or_empty("below"), runtime.text_or_empty("made_with")};
}

bm_dtype read_dtype(const Fields& fields) {
  const std::string name = fields.text("dtype");
  const bm_dtype dtype = dtype_of(name);
  if (dtype == 0) bad_input(fields.name("dtype") + " is unknown: " + json_quoted(name));
  return dtype;
}

std::vector<std::int64_t> read_shape(const Fields& fields) {
  std::vector<std::int64_t> shape;
  for (const Json& item : fields.take("shape").as_list(fields.name("shape"))) {
    shape.push_back(item.as_integer(fields.name("shape")));
    if (shape.back() < -1) bad_input(fields.name("shape") + " has a size below -1");
  }
  if (shape.size() > BM_MAX_RANK)
    bad_input(fields.name("shape") + " has more than " + std::to_string(BM_MAX_RANK) + " axes");
  return shape;
}

TensorSpec read_tensor(const Fields& fields) {
  TensorSpec tensor{fields.text("name"), read_dtype(fields), read_shape(fields), ""};
  if (fields.has("layout")) tensor.layout = fields.choice("layout", {"NCHW", "NHWC"});
  return tensor;
}

std::vector<TensorSpec> read_tensors(const Fields& fields, const std::string& key) {
  std::vector<TensorSpec> tensors;
  for (const Fields& item : fields.objects(key)) {
    tensors.push_back(read_tensor(item));
    for (std::size_t i = 0; i + 1 < tensors.size(); ++i)
      if (tensors[i].name == tensors.back().name) bad_input(item.name("name") + " is there twice");
    if (tensors.size() > kMostTensors) bad_input(fields.name(key) + " are too many");
  }
  if (tensors.empty()) bad_input(fields.name(key) + " is empty");
  return tensors;
}

GoldenTensor read_golden_tensor(const Fields& fields, bool is_output) {
  GoldenTensor tensor{fields.text("name"), fields.path("file")};
  if (!is_output) return tensor;
  tensor.tolerance = fields.number("tolerance");
  if (tensor.tolerance < 0) bad_input(fields.name("tolerance") + " is negative");
  if (fields.has("step")) tensor.step = fields.number("step");
  if (tensor.step < 0) bad_input(fields.name("step") + " is negative");
  return tensor;
}

// In the order of the model's tensors, each of which has to be there once.
std::vector<GoldenTensor> read_golden_tensors(const Fields& fields, const std::string& key,
                                              const std::vector<TensorSpec>& tensors) {
  std::vector<GoldenTensor> found;
  for (const Fields& item : fields.objects(key))
    found.push_back(read_golden_tensor(item, key == "outputs"));
  std::vector<GoldenTensor> ordered;
  for (const TensorSpec& tensor : tensors) {
    const auto is_it = [&](const GoldenTensor& one) { return one.name == tensor.name; };
    const auto one = std::find_if(found.begin(), found.end(), is_it);
    if (one != found.end()) ordered.push_back(*one);
  }
  if (ordered.size() != tensors.size() || found.size() != tensors.size())
    bad_input(fields.name(key) + " has to have each " + key.substr(0, key.size() - 1) + " once");
  return ordered;
}

std::vector<std::pair<std::string, std::string>> read_session(const Fields& fields) {
  std::vector<std::pair<std::string, std::string>> session;
  if (!fields.has("session")) return session;
  const Fields settings = fields.child("session");
  for (const Json::Member& member : settings.value().members) {
    if (member.first.find('\0') != member.first.npos) bad_input(settings.where() + ": has a NUL");
    session.emplace_back(member.first, settings.text(member.first));
  }
  return session;
}

}  // namespace

ModelSpec read_model(const Fields& fields) {
  ModelSpec model;
  model.name = fields.text("name");
  model.target = fields.text("target");
  model.engine = read_engine(fields);
  model.file = fields.path("file");
  model.digest = fields.text_or_empty("digest");
  read_needs(fields.child("needs"), model);
  model.session = read_session(fields);
  model.inputs = read_tensors(fields, "inputs");
  model.outputs = read_tensors(fields, "outputs");
  for (const Fields& pair : fields.objects("golden"))
    model.golden.push_back({read_golden_tensors(pair, "inputs", model.inputs),
                            read_golden_tensors(pair, "outputs", model.outputs)});
  return model;
}

}  // namespace bm
