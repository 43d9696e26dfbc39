#include "stages.h"

#include <cstdio>
#include <functional>

#include "failure.h"
#include "json_text.h"

namespace bm {

void Stages::run(const std::string& name, const std::function<std::string()>& stage) {
  try {
    note(name, "ok", stage());
  } catch (const Failure& failure) {
    note(name, "failed", failure.message);
    throw;
  }
}

void Stages::skip(const std::string& name, const std::string& reason) {
  note(name, "skipped", reason);
}

std::string Stages::json() const {
  return json_list(stages_);
}

void Stages::note(const std::string& name, const std::string& state, const std::string& detail) {
  JsonObject stage;
  stage.put_text("stage", name).put_text("state", state).put_text("detail", detail);
  stages_.push_back(stage.text());
  if (!is_json_) {
    std::printf("%-10s %-8s %s\n", name.c_str(), state.c_str(), detail.c_str());
  }
}

}  // namespace bm
