#include "tensorrt_open.h"

#include <memory>
#include <string>
#include <vector>

#include "failure.h"
#include "tensorrt_log.h"

namespace bm::trt {
namespace {

constexpr const char* kRebuild =
    "build it with `bmopt build` on a device like this one, and package it again";

std::string release_text(const Sdk& sdk) {
  const std::string major = std::to_string(sdk.major);
  return is_rtx_plugin() ? major + "." + std::to_string(sdk.minor) : major;
}

std::string compiled_text() {
  std::string text;
  for (const Sdk* sdk : compiled_sdks()) {
    text += (text.empty() ? "" : " and ") + release_text(*sdk);
  }
  return text;
}

std::vector<std::string> library_names_for(const EngineFile& file) {
  std::vector<int> majors;
  for (const Sdk* sdk : compiled_sdks()) {
    if (majors.empty() || majors.back() != sdk->major) {
      majors.push_back(sdk->major);
    }
  }
  return library_names(file.major(), majors);
}

// TensorRT-RTX has removed virtual functions in minor releases.
bool is_for(const Sdk& sdk, const EngineLibrary& library) {
  return sdk.major == library.major() && (!is_rtx_plugin() || sdk.minor == library.minor());
}

bool has_device(const std::string& devices, const std::string& sm) {
  return ("+" + devices + "+").find("+" + sm + "+") != std::string::npos;
}

std::string refusal(const EngineFile& file, const EngineLibrary& library, const Cuda& cuda) {
  const std::string sm = "sm" + std::to_string(cuda.sm());
  const std::string devices = file.devices();
  if (!devices.empty() && !has_device(devices, sm)) {
    return "was built for " + devices + ", and this GPU is " + sm;
  }
  if (!file.version().empty() && file.version() != library.version()) {
    return "was built by " + std::string(sdk_title()) + " " + file.version() + ", and this is " +
           library.version();
  }
  return library.title() + " refuses it on this GPU (" + sm + ")";
}

[[noreturn]] void refuse(const EngineFile& file, const EngineLibrary& library, const Cuda& cuda) {
  if (is_out_of_memory()) {
    fail(BM_HOST, file.path() + ": the GPU has not enough memory for it; free some" + because());
  }
  if (!file.damage().empty()) {
    bad_input(file.path() + ": " + file.damage() + because() + "; copy the bundle again");
  }
  fail(BM_HOST, file.path() + ": " + refusal(file, library, cuda) + because() + "; " + kRebuild);
}

bool as_switch(const std::string& key, const std::string& value) {
  if (value != "0" && value != "1") {
    bad_input("setting " + key + " is '" + value + "'; it takes 0 or 1");
  }
  return value == "1";
}

int as_core(const std::string& key, const std::string& value) {
  if (value.size() != 1 || value[0] < '0' || value[0] > '9') {
    bad_input("setting " + key + " is '" + value + "'; it takes the number of a core");
  }
  return value[0] - '0';
}

}  // namespace

void check_file(const EngineFile& file) {
  if (file.is_known() && file.is_rtx() != is_rtx_plugin()) {
    bad_input(file.path() + ": is an engine of " + (file.is_rtx() ? "TensorRT-RTX" : "TensorRT") +
              ", not of " + sdk_title() + "; package the artifact again");
  }
  // The size that TensorRT's own files declare was never verified: its runtime is the judge.
  if (is_rtx_plugin() && !file.damage().empty()) {
    bad_input(file.path() + ": " + file.damage() + "; copy the bundle again");
  }
}

EngineLibrary open_library(const bm_session_config& config, const EngineFile& file) {
  if (config.library != nullptr && config.library[0] != '\0') {
    return EngineLibrary(config.library);
  }
  Failure first{BM_HOST, ""};
  for (const std::string& name : library_names_for(file)) {
    try {
      return EngineLibrary(name);
    } catch (const Failure& failure) {
      first = first.message.empty() ? failure : first;
    }
  }
  fail(first.status,
       first.message + "; " + sdk_title() + " " + file.version() + " built " + file.path());
}

const Sdk& sdk_of(const EngineLibrary& library) {
  for (const Sdk* sdk : compiled_sdks()) {
    if (is_for(*sdk, library)) {
      return *sdk;
    }
  }
  fail(BM_HOST, library.path() + ": is " + library.title() +
                    ", and this runner was compiled for " + compiled_text() +
                    "; install that, or compile the runner with the headers of " +
                    library.version());
}

EngineSettings read_settings(const bm_session_config& config) {
  EngineSettings settings;
  for (std::size_t i = 0; i < config.setting_count; ++i) {
    const std::string key = config.keys[i];
    if (key == "engine_host_code_allowed") {
      settings.host_code_allowed = as_switch(key, config.values[i]);
    } else if (key == "DLA_core") {
      settings.dla_core = as_core(key, config.values[i]);
    } else {
      bad_input("setting '" + key + "' is unknown to " + sdk_title() +
                ", which has engine_host_code_allowed and DLA_core; package the artifact again");
    }
  }
  return settings;
}

std::unique_ptr<Engine> open_engine(const EngineFile& file, const EngineLibrary& library,
                                    const EngineSettings& settings, const Cuda& cuda) {
  std::unique_ptr<Engine> engine;
  try {
    engine = sdk_of(library).open(library, file.data(), file.bytes(), settings);
  } catch (const Failure& failure) {
    fail(failure.status, file.path() + ": " + failure.message);
  }
  if (engine == nullptr) {
    refuse(file, library, cuda);
  }
  return engine;
}

}  // namespace bm::trt
