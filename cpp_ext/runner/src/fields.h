#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "json.h"

namespace bm {

// A JSON object whose members are taken with their types; messages begin with where they are.
// A value that is null is taken for missing. Every function throws Failure (BM_BAD_INPUT).
class Fields {
 public:
  Fields(const Json& object, std::string where);

  const Json* find(const std::string& key) const;  // Null where there is none.
  const Json& take(const std::string& key) const;
  bool has(const std::string& key) const { return find(key) != nullptr; }

  std::string text(const std::string& key) const;  // Without NUL.
  std::string text_or_empty(const std::string& key) const;
  std::string choice(const std::string& key, std::initializer_list<const char*> valid) const;
  std::string path(const std::string& key) const;   // Inside the bundle.
  std::int64_t size(const std::string& key) const;  // 0 or more.
  double number(const std::string& key) const;
  std::vector<std::string> texts(const std::string& key) const;
  std::vector<Fields> objects(const std::string& key) const;
  Fields child(const std::string& key) const;

  const Json& value() const { return *object_; }
  std::string name(const std::string& key) const { return where_ + ": " + key; }
  const std::string& where() const { return where_; }

 private:
  const Json* object_;
  std::string where_;
};

// A text without NUL.
std::string plain_text(const Json& value, const std::string& where);

// The path, where it is one inside the bundle.
std::string checked_path(const std::string& path, const std::string& where);

}  // namespace bm
