#include "tvm_value.h"

#include <algorithm>
#include <cstdint>

#include "failure.h"

namespace bm::tvm {
namespace {

constexpr std::size_t kMessageBytes = 600;

std::string text_of(const TVMFFIByteArray& bytes) {
  return {bytes.data, bytes.size};
}

// Errors name the wheel's source files and go over many lines: the first tells what is wrong.
std::string first_line(const std::string& message) {
  const std::size_t start = message.find_first_not_of(" \n");
  if (start == message.npos) return "no reason was given";
  std::string line = message.substr(start, message.find('\n', start) - start);
  if (line.size() > kMessageBytes) line.resize(kMessageBytes);
  return line;
}

// Whether a model does not take a value: TVM's kinds of such errors differ, its texts say it.
bool is_of_values(const std::string& kind, const std::string& message) {
  return kind == "ValueError" || kind == "TypeError" || kind == "AssertionError" ||
         message.find("match_cast error") != message.npos;
}

}  // namespace

Value::Value(const Library& library, TVMFFIObjectHandle object, std::int32_t type)
    : library_(&library) {
  any_.type_index = type;
  any_.v_obj = static_cast<TVMFFIObject*>(object);
}

void Value::reset() {
  if (any_.type_index >= kTVMFFIStaticObjectBegin) library_->release(any_.v_obj);
  any_ = TVMFFIAny{};
}

TVMFFIAny argument(std::int64_t number) {
  TVMFFIAny any{};
  any.type_index = kTVMFFIInt;
  any.v_int64 = number;
  return any;
}

TVMFFIAny argument(bool flag) {
  TVMFFIAny any = argument(std::int64_t{flag});
  any.type_index = kTVMFFIBool;
  return any;
}

TVMFFIAny argument(const char* text) {
  TVMFFIAny any{};
  any.type_index = kTVMFFIRawStr;
  any.v_c_str = text;
  return any;
}

void check(const Library& library, int code, bm_status status, const std::string& what) {
  if (code == 0) return;
  TVMFFIObjectHandle raised = nullptr;
  library.take_error(&raised);
  if (raised == nullptr) fail(status, what + ": TVM failed and does not say why");
  const Value error(library, raised, kTVMFFIError);
  const TVMFFIErrorCell& cell = *TVMFFIErrorGetCellPtr(raised);
  const std::string message = text_of(cell.message);
  const bool is_input = status == BM_INTERNAL && is_of_values(text_of(cell.kind), message);
  fail(is_input ? BM_BAD_INPUT : status, what + ": " + first_line(message));
}

Value global_function(const Library& library, const std::string& name) {
  const TVMFFIByteArray key = {name.data(), name.size()};
  TVMFFIObjectHandle function = nullptr;
  check(library, library.get_global(&key, &function), BM_HOST, name);
  if (function == nullptr) fail(BM_HOST, "this TVM has no " + name + ": it is of another version");
  return {library, function, kTVMFFIFunction};
}

Value call(const Library& library, const Value& function, const TVMFFIAny* arguments,
           std::size_t count, bm_status status, const std::string& what) {
  Value result(library);
  // The C interface takes them without const, and does not change them.
  const int code = library.call(function.object(), const_cast<TVMFFIAny*>(arguments),
                                static_cast<std::int32_t>(count), result.fill());
  check(library, code, status, what);
  return result;
}

}  // namespace bm::tvm
