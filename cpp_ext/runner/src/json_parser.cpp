#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstring>

#include "failure.h"
#include "json.h"
#include "utf8.h"

namespace bm {
namespace {

class Parser {
 public:
  Parser(const std::string& text, const std::string& where) : text_(text), where_(where) {}

  Json document() {
    Json value = this->value(0);
    skip_space();
    if (at_ != text_.size()) fault("something follows the value");
    return value;
  }

 private:
  [[noreturn]] void fault(const std::string& what) const {
    bad_input(where_ + ": no valid JSON at byte " + std::to_string(at_) + ": " + what);
  }

  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  bool take(char c) {
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  void skip_space() {
    while (at_ < text_.size() && std::strchr(" \t\r\n", text_[at_]) && text_[at_]) ++at_;
  }

  Json value(int depth) {
    skip_space();
    switch (peek()) {
      case '{':
        return object(depth + 1);
      case '[':
        return list(depth + 1);
      case '"':
        return text();
      case 't':
        return word("true", Json::Kind::kBool, true);
      case 'f':
        return word("false", Json::Kind::kBool, false);
      case 'n':
        return word("null", Json::Kind::kNull, false);
      default:
        return number();
    }
  }

  Json word(const char* word, Json::Kind kind, bool truth) {
    if (text_.compare(at_, std::strlen(word), word) != 0) fault("unknown word");
    at_ += std::strlen(word);
    Json json;
    json.kind = kind;
    json.truth = truth;
    return json;
  }

  Json text() {
    Json json;
    json.kind = Json::Kind::kText;
    json.text = quoted();
    return json;
  }

  void open(int depth) {
    if (depth > kJsonDepth) fault("nested deeper than " + std::to_string(kJsonDepth));
    ++at_;
    skip_space();
  }

  // Whether another item follows; `end` closes the list.
  bool next(char end) {
    skip_space();
    if (take(end)) return false;
    if (!take(',')) fault(std::string("expected ',' or '") + end + "'");
    skip_space();
    return true;
  }

  Json list(int depth) {
    open(depth);
    Json json;
    json.kind = Json::Kind::kList;
    if (take(']')) return json;
    do json.list.push_back(value(depth));
    while (next(']'));
    return json;
  }

  Json object(int depth) {
    open(depth);
    Json json;
    json.kind = Json::Kind::kObject;
    if (take('}')) return json;
    do member(json, depth);
    while (next('}'));
    refuse_duplicates(json);
    return json;
  }

  void member(Json& json, int depth) {
    std::string key = quoted();
    skip_space();
    if (!take(':')) fault("expected ':'");
    json.members.emplace_back(std::move(key), value(depth));
  }

  void refuse_duplicates(const Json& json) const;
  std::string quoted();
  void escape(std::string& out);
  std::uint32_t code_point();
  std::uint32_t hex4();
  Json number();
  void digits();

  const std::string& text_;
  const std::string& where_;
  std::size_t at_ = 0;
};

void Parser::refuse_duplicates(const Json& json) const {
  std::vector<const std::string*> keys;
  for (const Json::Member& member : json.members) keys.push_back(&member.first);
  const auto is_less = [](const std::string* a, const std::string* b) { return *a < *b; };
  const auto is_same = [](const std::string* a, const std::string* b) { return *a == *b; };
  std::sort(keys.begin(), keys.end(), is_less);
  const auto twice = std::adjacent_find(keys.begin(), keys.end(), is_same);
  if (twice != keys.end()) fault("key " + json_quoted(**twice) + " is there twice");
}

std::string Parser::quoted() {
  if (!take('"')) fault("expected '\"'");
  std::string out;
  while (at_ < text_.size()) {
    const char c = text_[at_++];
    if (c == '"') return out;
    if (static_cast<unsigned char>(c) < 0x20) fault("control character in a text");
    if (c == '\\')
      escape(out);
    else
      out += c;
  }
  fault("a text without end");
}

void Parser::escape(std::string& out) {
  static const char names[] = "\"\\/bfnrt";
  static const char values[] = "\"\\/\b\f\n\r\t";
  const char c = peek();
  ++at_;
  if (c == 'u') {
    append_utf8(out, code_point());
    return;
  }
  const char* name = c == '\0' ? nullptr : std::strchr(names, c);
  if (name == nullptr) fault("unknown escape");
  out += values[name - names];
}

std::uint32_t Parser::code_point() {
  const std::uint32_t high = hex4();
  if (high < 0xd800 || high > 0xdfff) return high;
  if (high > 0xdbff || !take('\\') || !take('u')) fault("half of a surrogate pair");
  const std::uint32_t low = hex4();
  if (low < 0xdc00 || low > 0xdfff) fault("half of a surrogate pair");
  return 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
}

std::uint32_t Parser::hex4() {
  std::uint32_t code = 0;
  const char* begin = text_.data() + at_;
  const char* end = begin + std::min<std::size_t>(4, text_.size() - std::min(at_, text_.size()));
  const auto read = std::from_chars(begin, end, code, 16);
  if (read.ptr != begin + 4) fault("expected four hexadecimal digits");
  at_ += 4;
  return code;
}

void Parser::digits() {
  const std::size_t begin = at_;
  while (peek() >= '0' && peek() <= '9') ++at_;
  if (at_ == begin) fault("expected a value");
}

Json Parser::number() {
  const std::size_t begin = at_;
  take('-');
  if (!take('0')) digits();
  if (take('.')) digits();
  if (take('e') || take('E')) {
    if (!take('+')) take('-');
    digits();
  }
  Json json;
  json.kind = Json::Kind::kNumber;
  // Unlike strtod it does not look at the locale.
  const auto read = std::from_chars(text_.data() + begin, text_.data() + at_, json.number);
  if (read.ec != std::errc()) fault("a number out of range");
  return json;
}

}  // namespace

Json parse_json(const std::string& text, const std::string& where) {
  if (text.size() > kJsonBytes)
    bad_input(where + ": larger than " + std::to_string(kJsonBytes) + " bytes");
  const std::size_t fault = invalid_utf8_at(text);
  if (fault != text.size()) bad_input(where + ": no valid UTF-8 at byte " + std::to_string(fault));
  return Parser(text, where).document();
}

}  // namespace bm
