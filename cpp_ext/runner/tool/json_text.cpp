#include "json_text.h"

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "json.h"

namespace bm {

std::string json_number(double value) {
  if (std::isnan(value)) {
    return "\"nan\"";
  }
  if (std::isinf(value)) {
    return value < 0 ? "\"-inf\"" : "\"inf\"";
  }
  char text[40];
  for (int digits = 6; digits <= 17; ++digits) {
    std::snprintf(text, sizeof text, "%.*g", digits, value);
    if (std::strtod(text, nullptr) == value) {
      break;
    }
  }
  return text;
}

std::string json_bool(bool value) {
  return value ? "true" : "false";
}

std::string json_list(const std::vector<std::string>& values) {
  std::string text = "[";
  for (const std::string& value : values) {
    text += text.size() == 1 ? "" : ",";
    text += value;
  }
  return text + "]";
}

std::string json_texts(const std::vector<std::string>& texts) {
  std::vector<std::string> quoted;
  for (const std::string& text : texts) {
    quoted.push_back(json_quoted(text));
  }
  return json_list(quoted);
}

std::string json_integers(const std::vector<std::int64_t>& values) {
  std::vector<std::string> numbers;
  for (const std::int64_t value : values) {
    numbers.push_back(std::to_string(value));
  }
  return json_list(numbers);
}

JsonObject& JsonObject::put(const std::string& name, const std::string& json) {
  members_ += (members_.empty() ? "" : ",") + json_quoted(name) + ":" + json;
  return *this;
}

JsonObject& JsonObject::put_text(const std::string& name, const std::string& text) {
  return put(name, json_quoted(text));
}

JsonObject& JsonObject::put_integer(const std::string& name, std::int64_t value) {
  return put(name, std::to_string(value));
}

}  // namespace bm
