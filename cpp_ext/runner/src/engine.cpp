#include "engine.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdint>

#include "failure.h"
#include "files.h"
#include "host.h"

namespace bm {
namespace {

std::string folder_of_this_code() {
  Dl_info info;
  if (::dladdr(reinterpret_cast<void*>(&folder_of_this_code), &info) == 0) return ".";
  const std::string path = info.dli_fname;
  const std::size_t slash = path.rfind('/');
  return slash == path.npos ? "." : path.substr(0, slash);
}

std::string plugin_path(const Bundle& bundle, const std::string& engine) {
  const std::string name = "libbm_engine_" + engine + ".so";
  const std::string own = bundle.path("lib/" + name);
  if (is_file_below(bundle.folder, "lib/" + name)) return own;
  // The library lies beside its plugins; bmopt-run, which has it inside, in a folder next to
  // theirs.
  for (const char* place : {"/", "/../lib/"}) {
    const std::string other = folder_of_this_code() + place + name;
    if (is_file(other)) return other;
  }
  fail(BM_HOST, "needs the plugin " + name + ", which is neither in the bundle's lib nor beside " +
                    "libbmopt_runner.so");
}

const bm_engine_table* load_plugin(const std::string& path) {
  void* plugin = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (plugin == nullptr) fail(BM_HOST, std::string("cannot load its plugin: ") + ::dlerror());
  const auto entry = reinterpret_cast<bm_engine_entry>(::dlsym(plugin, "bm_engine"));
  const bm_engine_table* table = entry ? entry() : nullptr;
  if (table == nullptr || table->abi != BM_ENGINE_ABI)
    fail(BM_HOST, path + ": is no plugin of this version of the runner");
  return table;
}

// The name under which a bundle has an engine's runtime; null where it never has it.
const char* bundled_library(const std::string& engine) {
  if (engine == "onnxruntime") return "libonnxruntime.so.1";
  if (engine == "tvm") return "libtvm_runtime.so";
  return nullptr;
}

// Empty where the plugin is to look for it.
std::string library_path(const Bundle& bundle, const std::string& engine,
                         const EngineOptions& options) {
  const char* name = bundled_library(engine);
  if (!options.library.empty() || name == nullptr) return options.library;
  const std::string path = std::string("lib/") + name;
  return is_file_below(bundle.folder, path) ? bundle.path(path) : name;
}

// The manifest's settings as the plugin's two arrays.
struct Settings {
  std::vector<const char*> keys;
  std::vector<const char*> values;

  explicit Settings(const ModelSpec& model) {
    for (const auto& [key, value] : model.session) {
      keys.push_back(key.c_str());
      values.push_back(value.c_str());
    }
  }
};

std::string range_text(const RuntimeNeed& need) {
  std::string text = need.name;
  // What runs with one version only: its plugin compares.
  if (need.min.empty() && need.below.empty() && !need.made_with.empty())
    return text + " " + need.made_with;
  if (!need.min.empty()) text += " " + need.min + " or newer";
  if (!need.below.empty()) text += (need.min.empty() ? " " : ", ") + ("below " + need.below);
  return text;
}

void check_version(const RuntimeNeed& need, const std::string& found) {
  const bool is_too_old = !need.min.empty() && is_older_version(found, need.min);
  const bool is_too_new = !need.below.empty() && !is_older_version(found, need.below);
  if (is_too_old || is_too_new) fail(BM_HOST, "needs " + range_text(need) + ", found " + found);
}

// A refusal may come from a version that cannot know better: say which one would.
[[noreturn]] void fail_to_open(bm_status status, const char* error, const RuntimeNeed& need) {
  fail(status, std::string(error) + " (needs " + range_text(need) + ")");
}

}  // namespace

std::vector<bm_tensor_info> tensor_infos(const std::vector<TensorSpec>& specs) {
  std::vector<bm_tensor_info> infos;
  for (const TensorSpec& spec : specs) {
    bm_tensor_info info{};
    info.name = spec.name.c_str();
    info.dtype = spec.dtype;
    info.rank = static_cast<std::int32_t>(spec.shape.size());
    std::copy(spec.shape.begin(), spec.shape.end(), info.shape);
    infos.push_back(info);
  }
  return infos;
}

Engine::Engine(const Bundle& bundle, const ModelSpec& model, const EngineOptions& options) {
  table_ = load_plugin(plugin_path(bundle, model.engine));
  const std::string path = bundle.path(model.file);
  const std::string library = library_path(bundle, model.engine, options);
  const Settings settings(model);
  const std::vector<bm_tensor_info> inputs = tensor_infos(model.inputs);
  const std::vector<bm_tensor_info> outputs = tensor_infos(model.outputs);
  const bm_session_config config = {
      path.c_str(),           library.empty() ? nullptr : library.c_str(),
      options.threads,        settings.keys.data(),
      settings.values.data(), settings.keys.size(),
      inputs.data(),          inputs.size(),
      outputs.data(),         outputs.size()};
  char error[BM_ERROR_BYTES] = "";
  const bm_status status = table_->open(&config, &session_, error);
  if (status != BM_OK) fail_to_open(status, error, model.runtime);
  const std::string version = table_->version(session_);
  version_ = std::string(table_->name) + " " + version;
  try {
    check_version(model.runtime, version);
  } catch (const Failure&) {
    table_->close(session_);
    throw;
  }
}

Engine::~Engine() {
  table_->close(session_);
}

void Engine::run(const bm_tensor* inputs, bm_tensor* outputs) {
  char error[BM_ERROR_BYTES];
  error[0] = '\0';
  const bm_status status = table_->run(session_, inputs, outputs, error);
  if (status != BM_OK) fail(status, error);
}

}  // namespace bm
