#pragma once

#include <functional>
#include <string>
#include <vector>

namespace bm {

// The stages of a verification that ran, in order; each is printed when it is over, but not where
// the whole is to be JSON.
class Stages {
 public:
  explicit Stages(bool is_json) : is_json_(is_json) {}

  // Run a stage, which returns what to say of it. A Failure is noted and thrown on.
  void run(const std::string& name, const std::function<std::string()>& stage);

  // Note what could not be checked here, which is no failure.
  void skip(const std::string& name, const std::string& reason);

  std::string json() const;

 private:
  void note(const std::string& name, const std::string& state, const std::string& detail);

  bool is_json_;
  std::vector<std::string> stages_;
};

}  // namespace bm
