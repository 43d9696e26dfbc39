#include "json.h"

#include <clocale>

#include "check.h"

using bm::Json;
using bm::parse_json;

namespace {

std::string nested(int depth) {
  return std::string(depth, '[') + std::string(depth, ']');
}

}  // namespace

TEST(json_values) {
  const Json json =
      parse_json(R"( {"a": [1, -2.5e3, true, null, "x\n\u00e4\ud83d\ude00"]} )", "t");
  const std::vector<Json>& list = json.find("a")->as_list("a");
  CHECK(list.size() == 5);
  CHECK(list[0].as_integer("") == 1);
  CHECK(list[1].as_number("") == -2500);
  CHECK(list[2].kind == Json::Kind::kBool && list[2].truth);
  CHECK(list[3].is_null());
  CHECK(list[4].as_text("") == "x\n\xc3\xa4\xf0\x9f\x98\x80");
  CHECK(json.find("b") == nullptr);
}

TEST(json_numbers_ignore_the_locale) {
  std::setlocale(LC_ALL, "de_DE.UTF-8");
  CHECK(parse_json("1.5", "t").as_number("") == 1.5);
  std::setlocale(LC_ALL, "C");
}

TEST(json_whole_numbers) {
  CHECK(parse_json("9007199254740992", "t").as_integer("") == 9007199254740992);
  CHECK_FAILS(BM_BAD_INPUT, "whole", parse_json("9007199254740994", "t").as_integer("n"));
  CHECK_FAILS(BM_BAD_INPUT, "whole", parse_json("0.5", "t").as_integer("n"));
  CHECK_FAILS(BM_BAD_INPUT, "n: expected a text", parse_json("1", "t").as_text("n"));
}

TEST(json_refuses_what_is_not_json) {
  const char* texts[] = {"",      "{",     "[1,]",        "{\"a\":1,}",  "01",      "1.",
                         "+1",    ".5",    "nul",         "'a'",         "\"\\x\"", "\"\\u12\"",
                         "[1] 2", "\"a",   "{1:2}",       "{\"a\" 1}",   "NaN",     "Infinity",
                         "1e",    "-",     "\"\\ud800\"", "\"\\udc00\"", "\"\\",    "\"\n\"",
                         "[1 2]", "1e999", "{\"a\":}",    "tru",         "\"\\u",   "// x\n1"};
  for (const char* text : texts)
    CHECK_FAILS(BM_BAD_INPUT, "t: no valid JSON", parse_json(text, "t"));
  CHECK_FAILS(BM_BAD_INPUT, "no valid JSON", parse_json(std::string("1\0", 2), "t"));
}

TEST(json_refuses_a_key_twice) {
  CHECK_FAILS(BM_BAD_INPUT, "key \"a\" is there twice", parse_json(R"({"a":1,"b":2,"a":3})", "t"));
  CHECK_FAILS(BM_BAD_INPUT, "twice", parse_json(R"({"a":1,"\u0061":3})", "t"));
}

TEST(json_limits) {
  CHECK(parse_json(nested(32), "t").kind == Json::Kind::kList);
  CHECK_FAILS(BM_BAD_INPUT, "nested deeper than 32", parse_json(nested(33), "t"));
  CHECK_FAILS(BM_BAD_INPUT, "nested", parse_json(std::string(100000, '['), "t"));
  const std::string large(bm::kJsonBytes + 1, ' ');
  CHECK_FAILS(BM_BAD_INPUT, "larger", parse_json(large, "t"));
}

TEST(json_wants_utf8) {
  const char* bad[] = {"\"\xff\"",         "\"\xc0\xaf\"",         "\"\xe0\x80\xaf\"",
                       "\"\xed\xa0\x80\"", "\"\xf4\x90\x80\x80\"", "\"\xc3\""};
  for (const char* text : bad) CHECK_FAILS(BM_BAD_INPUT, "UTF-8", parse_json(text, "t"));
  CHECK(parse_json("\"\xf4\x8f\xbf\xbf\"", "t").text.size() == 4);
}

TEST(json_quoted) {
  const std::string text("a\"\\\n\x01", 5);
  CHECK(bm::json_quoted(text) == "\"a\\\"\\\\\\u000a\\u0001\"");
  CHECK(parse_json(bm::json_quoted(text), "t").text == text);
}
