// check_bundle BUNDLE [MODEL [LIBRARY]]: checksums, then golden outputs; the status is the exit
// code.
#include <cstdio>
#include <memory>

#include "bmopt_runner.h"
#include "failure.h"
#include "golden.h"

namespace {

void check(const char* folder, const char* model, const char* library, bool is_only_opened) {
  const bm::Bundle bundle = bm::read_bundle(folder);
  if (!is_only_opened) bm::check_sums(bundle);
  const bm_options options = {BM_ABI_VERSION, 1, model, library};
  bm_runner* opened = nullptr;
  const bm_status status = bm_open(folder, &options, &opened);
  if (status != BM_OK) bm::fail(status, bm_last_error());
  const std::unique_ptr<bm_runner, void (*)(bm_runner*)> runner(opened, bm_close);
  std::printf("%s %s %s\n", bm_model_name(opened), bm_model_target(opened),
              bm_engine_version(opened));
  const bm::ModelSpec& spec = bm::model_named(bundle, bm_model_name(opened));
  const std::string fault = bm::golden_fault(bm::check_golden(bundle, spec, opened));
  if (!fault.empty()) bm::fail(BM_DIFFERS, fault);
}

const char* given(const char* text) {
  return text[0] != '\0' ? text : nullptr;
}

}  // namespace

int main(int count, char** values) {
  try {
    if (count < 4) bm::bad_input("check_bundle BUNDLE MODEL LIBRARY [open]");
    check(values[1], given(values[2]), given(values[3]), count > 4);
    return BM_OK;
  } catch (const bm::Failure& failure) {
    std::fprintf(stderr, "%s\n", failure.message.c_str());
    return failure.status;
  }
}
