#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace bm {

constexpr std::size_t kJsonBytes = std::size_t{4} << 20;
constexpr int kJsonDepth = 32;

// A value of a JSON text. Members keep their order; an object has each key once.
class Json {
 public:
  enum class Kind { kNull, kBool, kNumber, kText, kList, kObject };
  using Member = std::pair<std::string, Json>;

  Kind kind = Kind::kNull;
  bool truth = false;
  double number = 0;
  std::string text;
  std::vector<Json> list;
  std::vector<Member> members;

  // The member called `key`, or null where there is none; also where this is no object.
  const Json* find(const std::string& key) const;

  // The value as a type; `where` begins the message of the Failure where it is another.
  const std::string& as_text(const std::string& where) const;
  double as_number(const std::string& where) const;
  std::int64_t as_integer(const std::string& where) const;  // At most 2^53 in size.
  const std::vector<Json>& as_list(const std::string& where) const;
  const std::vector<Member>& as_object(const std::string& where) const;
  bool is_null() const { return kind == Kind::kNull; }
};

// Read a whole text, strictly by RFC 8259: valid UTF-8, no duplicate keys, nothing after the
// value, at most kJsonBytes and kJsonDepth nested lists and objects. `where` names the text in
// messages. Throws Failure (BM_BAD_INPUT).
Json parse_json(const std::string& text, const std::string& where);

// `text` between quotation marks with what JSON wants escaped.
std::string json_quoted(const std::string& text);

}  // namespace bm
