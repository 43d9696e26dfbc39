#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <optional>

#include "failure.h"
#include "golden.h"
#include "json_text.h"
#include "modes.h"
#include "open_runner.h"
#include "signature.h"
#include "stages.h"

namespace bm {
namespace {

using Checks = std::vector<GoldenCheck>;

double relative(const GoldenCheck& check) {
  return check.worst == 0 ? 0 : check.worst / check.tolerance;
}

std::string golden_text(const Checks& checks) {
  if (checks.empty()) {
    return "none in the bundle";
  }
  const auto worst = std::max_element(
      checks.begin(), checks.end(),
      [](const GoldenCheck& a, const GoldenCheck& b) { return relative(a) < relative(b); });
  char text[160];
  std::snprintf(text, sizeof text, "%zu, largest difference %.3g, %.3g of its tolerance %.3g",
                checks.size(), worst->worst, relative(*worst), worst->tolerance);
  return text + (" (" + worst->output + ")");
}

std::string check_json(const std::string& model, const GoldenCheck& check) {
  JsonObject entry;
  entry.put_text("model", model);
  entry.put_integer("pair", static_cast<std::int64_t>(check.pair));
  entry.put_text("output", check.output);
  entry.put("difference", json_number(check.worst));
  entry.put("tolerance", json_number(check.tolerance));
  entry.put("step", check.step > 0 ? json_number(check.step) : "null");
  return entry.text();
}

// One verification, whose findings are kept for --json.
class Verification {
 public:
  explicit Verification(const ToolOptions& options)
      : options_(options), stages_(options.is_json) {}

  void run() {
    read();
    stages_.run("checksums", [&] { return sums(); });
    stages_.run("signature", [&] { return signature(); });
    check_models();
  }

  void print_json(int status) const {
    JsonObject whole;
    whole.put_integer("bmopt_verify", 1).put_text("bundle", options_.bundle);
    whole.put_integer("status", status).put("stages", stages_.json());
    whole.put("golden", json_list(golden_));
    std::printf("%s\n", whole.text().c_str());
  }

 private:
  void read() {
    stages_.run("manifest", [&] {
      bundle_ = read_bundle(options_.bundle);
      return bundle_.manifest.name + " of bmopt " + bundle_.manifest.bmopt;
    });
  }

  std::string sums() const {
    check_sums(bundle_);
    return std::to_string(bundle_.manifest.files.size() + 1) + " files";
  }

  std::string signature() const {
    const std::string key = options_.key.empty() ? "" : public_key_of(options_.key);
    const std::optional<std::string> signer = check_signature(options_.bundle, key);
    return signer ? "ed25519, by " + *signer : "not signed";
  }

  // Every model that runs here has to answer as it should, and one has to run.
  void check_models() {
    const std::vector<const ModelSpec*> models = candidates(bundle_, options_.model);
    std::vector<std::string> refusals;
    for (const ModelSpec* model : models) {
      try {
        check_model(*model);
      } catch (const Failure& failure) {
        if (failure.status != BM_HOST) {
          throw;
        }
        refusals.push_back(failure.message);
        if (refusals.size() < models.size()) {
          stages_.skip("host", failure.message);
        }
      }
    }
    if (refusals.size() == models.size()) {
      stages_.run("host", [&]() -> std::string { fail(BM_HOST, refusals.front()); });
    }
  }

  void check_model(const ModelSpec& model) {
    ToolOptions options = options_;
    options.model = model.name;
    const OpenRunner runner(options_.bundle, options);
    stages_.run("host", [&] {
      return model.name + " (" + model.target + ") on " + runner.engine_version();
    });
    stages_.run("golden", [&] { return golden(model, runner.get()); });
  }

  std::string golden(const ModelSpec& model, bm_runner* runner) {
    const Checks checks = run_golden(model, runner);
    for (const GoldenCheck& check : checks) {
      golden_.push_back(check_json(model.name, check));
    }
    const std::string fault = golden_fault(checks);
    if (!fault.empty()) {
      fail(BM_DIFFERS, options_.bundle + ": model " + model.name + ": " + fault);
    }
    return golden_text(checks);
  }

  // The checksums were right: what does not fit the model now was packed so.
  Checks run_golden(const ModelSpec& model, bm_runner* runner) const {
    try {
      return check_golden(bundle_, model, runner);
    } catch (const Failure& failure) {
      fail(failure.status == BM_BAD_INPUT ? BM_DIFFERS : failure.status, failure.message);
    }
  }

  const ToolOptions& options_;
  Stages stages_;
  Bundle bundle_;
  std::vector<std::string> golden_;
};

}  // namespace

void verify_bundle(const ToolOptions& options) {
  Verification verification(options);
  try {
    verification.run();
  } catch (const Failure& failure) {
    if (options.is_json) {
      verification.print_json(failure.status);
    }
    throw;
  }
  if (options.is_json) {
    verification.print_json(BM_OK);
  }
}

}  // namespace bm
