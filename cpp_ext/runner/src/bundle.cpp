#include "bundle.h"

#include <algorithm>

#include "failure.h"
#include "files.h"
#include "host.h"

namespace bm {
namespace {

std::string joined(const std::vector<std::string>& parts) {
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : ", ") + part;
  return text;
}

const FileSpec& listed(const Bundle& bundle, const std::string& path) {
  const std::vector<FileSpec>& files = bundle.manifest.files;
  const auto is_it = [&](const FileSpec& file) { return file.path == path; };
  return *std::find_if(files.begin(), files.end(), is_it);  // parse_manifest saw to it.
}

}  // namespace

Bundle read_bundle(const std::string& folder) {
  const std::string path = folder + "/manifest.json";
  if (!is_file(path)) bad_input(folder + ": is no bundle: it has no file manifest.json");
  const std::string text = read_file(path, kManifestBytes);
  try {
    return {folder, parse_manifest(text)};
  } catch (const Failure& failure) {
    fail(failure.status, folder + "/" + failure.message);
  }
}

std::string platform_fault(const Bundle& bundle) {
  if (bundle.manifest.platform == host_platform()) return "";
  return bundle.folder + ": is for " + bundle.manifest.platform + ", this host is " +
         host_platform() + "; package it for that with bmopt package --for";
}

std::string model_fault(const ModelSpec& model) {
  const std::vector<std::string> missing = missing_cpu_features(model.cpu);
  if (missing.empty()) return "";
  return "needs a CPU with " + joined(missing) + ", which this one lacks";
}

void check_model_file(const Bundle& bundle, const ModelSpec& model) {
  const std::string path = bundle.path(model.file);
  if (!is_file_below(bundle.folder, model.file))
    bad_input(path + ": is missing, or is a link; copy the whole bundle");
  if (file_size(path) != listed(bundle, model.file).bytes)
    fail(BM_UNTRUSTED, path + ": has another size than in manifest.json; copy the bundle again");
}

std::vector<const ModelSpec*> candidates(const Bundle& bundle, const std::string& name) {
  if (!name.empty()) return {&model_named(bundle, name)};
  std::vector<const ModelSpec*> models;
  for (const ModelSpec& model : bundle.manifest.models) models.push_back(&model);
  return models;
}

const ModelSpec& model_named(const Bundle& bundle, const std::string& name) {
  std::vector<std::string> names;
  for (const ModelSpec& model : bundle.manifest.models) {
    if (model.name == name) return model;
    names.push_back(model.name);
  }
  bad_input(bundle.folder + ": has no model " + name + "; it has " + joined(names));
}

}  // namespace bm
