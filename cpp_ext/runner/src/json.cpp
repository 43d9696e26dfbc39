#include "json.h"

#include <cmath>
#include <cstdint>

#include "failure.h"

namespace bm {
namespace {

constexpr double kExactIntegers = 9007199254740992.0;  // 2^53

void demand(bool is_kind, const std::string& where, const char* kind) {
  if (!is_kind) bad_input(where + ": expected " + kind);
}

void append_escaped(std::string& out, unsigned char c) {
  static const char digits[] = "0123456789abcdef";
  if (c == '"' || c == '\\') {
    out += '\\';
    out += static_cast<char>(c);
  } else if (c < 0x20) {
    out += "\\u00";
    out += digits[c >> 4];
    out += digits[c & 15];
  } else {
    out += static_cast<char>(c);
  }
}

}  // namespace

const Json* Json::find(const std::string& key) const {
  for (const Member& member : members)
    if (member.first == key) return &member.second;
  return nullptr;
}

const std::string& Json::as_text(const std::string& where) const {
  demand(kind == Kind::kText, where, "a text");
  return text;
}

double Json::as_number(const std::string& where) const {
  demand(kind == Kind::kNumber, where, "a number");
  return number;
}

std::int64_t Json::as_integer(const std::string& where) const {
  const bool is_whole =
      kind == Kind::kNumber && std::abs(number) <= kExactIntegers && std::floor(number) == number;
  demand(is_whole, where, "a whole number");
  return static_cast<std::int64_t>(number);
}

const std::vector<Json>& Json::as_list(const std::string& where) const {
  demand(kind == Kind::kList, where, "a list");
  return list;
}

const std::vector<Json::Member>& Json::as_object(const std::string& where) const {
  demand(kind == Kind::kObject, where, "an object");
  return members;
}

std::string json_quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) append_escaped(out, static_cast<unsigned char>(c));
  return out + '"';
}

}  // namespace bm
