#include "manifest.h"

#include <algorithm>
#include <cstdint>
#include <set>

#include "failure.h"
#include "manifest_parts.h"

namespace bm {
namespace {

constexpr char kWhere[] = "manifest.json";
constexpr char kSchemaKey[] = "bmopt_bundle";
constexpr std::int64_t kSchema = 1;

void check_schema(const Fields& fields) {
  if (!fields.has(kSchemaKey)) bad_input(std::string(kWhere) + ": is no manifest of a bundle");
  const std::int64_t schema = fields.size(kSchemaKey);
  if (schema != kSchema)
    bad_input(std::string(kWhere) + ": schema " + std::to_string(schema) + "; this runner reads " +
              std::to_string(kSchema) + ": use a runner of that version");
}

bool is_sha256(const std::string& text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == text.npos;
}

FileSpec read_file_spec(const std::string& path, const Fields& fields) {
  FileSpec spec{path, fields.text("sha256"), static_cast<std::uint64_t>(fields.size("bytes"))};
  if (!is_sha256(spec.sha256)) bad_input(fields.name("sha256") + " is no SHA-256");
  return spec;
}

std::vector<FileSpec> read_files(const Fields& fields) {
  std::vector<FileSpec> files;
  for (const Json::Member& member : fields.value().members) {
    const std::string path = checked_path(member.first, fields.where());
    if (path == kWhere || path == "SHA256SUMS" || path == "SIGNATURE")
      bad_input(fields.where() + ": " + path + " must not be listed");
    files.push_back(read_file_spec(path, Fields(member.second, fields.name(path))));
  }
  std::sort(files.begin(), files.end(),
            [](const FileSpec& a, const FileSpec& b) { return a.path < b.path; });
  return files;
}

std::vector<ModelSpec> read_models(const Fields& fields) {
  std::vector<ModelSpec> models;
  std::set<std::string> names;
  for (const Fields& item : fields.objects("models")) {
    models.push_back(read_model(item));
    if (!names.insert(models.back().name).second) bad_input(item.name("name") + " is there twice");
  }
  if (models.empty()) bad_input(fields.name("models") + " is empty");
  return models;
}

// Every file that is used has to be listed.
class Listed {
 public:
  explicit Listed(const std::vector<FileSpec>& files) {
    for (const FileSpec& file : files) paths_.insert(file.path);
  }

  void demand(const std::string& path) const {
    if (paths_.count(path) == 0)
      bad_input(std::string(kWhere) + ": " + path + " is used and not listed in files");
  }

  void demand(const ModelSpec& model) const {
    demand(model.file);
    for (const GoldenPair& pair : model.golden) {
      for (const GoldenTensor& tensor : pair.inputs) demand(tensor.file);
      for (const GoldenTensor& tensor : pair.outputs) demand(tensor.file);
    }
  }

 private:
  std::set<std::string> paths_;
};

void check_used_files(const Manifest& manifest) {
  const Listed listed(manifest.files);
  if (!manifest.labels.empty()) listed.demand(manifest.labels);
  for (const ModelSpec& model : manifest.models) listed.demand(model);
}

}  // namespace

Manifest parse_manifest(const std::string& text) {
  const Json document = parse_json(text, kWhere);
  const Fields fields(document, kWhere);
  check_schema(fields);
  Manifest manifest;
  manifest.bmopt = fields.text("bmopt");
  manifest.name = fields.text("name");
  manifest.platform = fields.choice("platform", {"x86_64-linux", "aarch64-linux"});
  manifest.models = read_models(fields);
  if (fields.has("preprocess")) manifest.preprocess = read_preprocess(fields.child("preprocess"));
  if (fields.has("labels")) manifest.labels = fields.path("labels");
  manifest.files = read_files(fields.child("files"));
  check_used_files(manifest);
  return manifest;
}

}  // namespace bm
