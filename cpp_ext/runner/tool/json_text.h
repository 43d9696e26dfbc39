#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace bm {

// A double as short as reads back equal; "inf", "-inf" and "nan" as texts, which JSON lacks.
std::string json_number(double value);
std::string json_bool(bool value);
std::string json_list(const std::vector<std::string>& values);
std::string json_texts(const std::vector<std::string>& texts);
std::string json_integers(const std::vector<std::int64_t>& values);

// An object that is written member by member; `put` takes JSON, `put_text` quotes.
class JsonObject {
 public:
  JsonObject& put(const std::string& name, const std::string& json);
  JsonObject& put_text(const std::string& name, const std::string& text);
  JsonObject& put_integer(const std::string& name, std::int64_t value);
  std::string text() const { return "{" + members_ + "}"; }

 private:
  std::string members_;
};

}  // namespace bm
