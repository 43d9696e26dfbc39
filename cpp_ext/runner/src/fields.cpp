#include "fields.h"

#include <cstdint>

#include "failure.h"
#include "files.h"

namespace bm {

std::string plain_text(const Json& value, const std::string& where) {
  const std::string& text = value.as_text(where);
  if (text.find('\0') != text.npos) bad_input(where + ": has a NUL");
  return text;
}

std::string checked_path(const std::string& path, const std::string& where) {
  const std::string fault = path_fault(path);
  if (fault.empty()) return path;
  bad_input(where + ": path " + json_quoted(path.substr(0, 80)) + " " + fault +
            "; it has to be inside the bundle");
}

Fields::Fields(const Json& object, std::string where)
    : object_(&object), where_(std::move(where)) {
  object.as_object(where_);
}

const Json* Fields::find(const std::string& key) const {
  const Json* value = object_->find(key);
  return value == nullptr || value->is_null() ? nullptr : value;
}

const Json& Fields::take(const std::string& key) const {
  const Json* value = find(key);
  if (value == nullptr) bad_input(name(key) + " is missing");
  return *value;
}

std::string Fields::text(const std::string& key) const {
  return plain_text(take(key), name(key));
}

std::string Fields::text_or_empty(const std::string& key) const {
  return has(key) ? text(key) : "";
}

std::string Fields::choice(const std::string& key,
                           std::initializer_list<const char*> valid) const {
  std::string found = text(key);
  std::string names;
  for (const char* one : valid) {
    if (found == one) return found;
    names += (names.empty() ? "" : ", ") + std::string(one);
  }
  bad_input(name(key) + " is " + json_quoted(found.substr(0, 80)) + ", not one of " + names);
}

std::string Fields::path(const std::string& key) const {
  return checked_path(text(key), name(key));
}

std::int64_t Fields::size(const std::string& key) const {
  const std::int64_t value = take(key).as_integer(name(key));
  if (value < 0) bad_input(name(key) + " is negative");
  return value;
}

double Fields::number(const std::string& key) const {
  return take(key).as_number(name(key));
}

std::vector<std::string> Fields::texts(const std::string& key) const {
  std::vector<std::string> found;
  for (const Json& item : take(key).as_list(name(key)))
    found.push_back(plain_text(item, name(key)));
  return found;
}

std::vector<Fields> Fields::objects(const std::string& key) const {
  std::vector<Fields> found;
  for (const Json& item : take(key).as_list(name(key)))
    found.emplace_back(item, name(key) + "[" + std::to_string(found.size()) + "]");
  return found;
}

Fields Fields::child(const std::string& key) const {
  return Fields(take(key), name(key));
}

}  // namespace bm
