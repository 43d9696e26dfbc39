#include <cstdint>

#include "dtype.h"
#include "failure.h"
#include "manifest_parts.h"

namespace bm {
namespace {

constexpr std::int64_t kLargestSide = 1 << 16;
constexpr std::size_t kMostChannels = 4096;

// A value, or a list of values, or nothing.
std::vector<const Json*> one_or_more(const Fields& fields, const std::string& key) {
  const Json* value = fields.find(key);
  if (value == nullptr) return {};
  if (value->kind != Json::Kind::kList) return {value};
  std::vector<const Json*> items;
  for (const Json& item : value->list) items.push_back(&item);
  if (items.empty()) bad_input(fields.name(key) + " is empty");
  return items;
}

std::vector<std::int64_t> read_sides(const Fields& fields, const std::string& key) {
  std::vector<std::int64_t> sides;
  for (const Json* item : one_or_more(fields, key)) {
    sides.push_back(item->as_integer(fields.name(key)));
    if (sides.back() < 1 || sides.back() > kLargestSide)
      bad_input(fields.name(key) + " has a side that is no number of pixels");
  }
  if (sides.size() > 2) bad_input(fields.name(key) + " has more than height and width");
  return sides;
}

std::vector<double> read_numbers(const Fields& fields, const std::string& key) {
  std::vector<double> numbers;
  for (const Json* item : one_or_more(fields, key))
    numbers.push_back(item->as_number(fields.name(key)));
  if (numbers.size() > kMostChannels) bad_input(fields.name(key) + " has too many values");
  return numbers;
}

void check_values(const Fields& fields, const PreprocessSpec& spec) {
  for (const double deviation : spec.std)
    if (deviation == 0) bad_input(fields.name("std") + " has a 0");
  if (!spec.dtype.empty() && dtype_of(spec.dtype) == 0)
    bad_input(fields.name("dtype") + " is unknown: " + json_quoted(spec.dtype));
}

}  // namespace

PreprocessSpec read_preprocess(const Fields& fields) {
  PreprocessSpec spec;
  spec.input = fields.text_or_empty("input");
  spec.resize = read_sides(fields, "resize");
  spec.crop = read_sides(fields, "crop");
  if (fields.has("channels")) spec.channels = fields.choice("channels", {"RGB", "BGR", "GRAY"});
  if (fields.has("scale")) spec.scale = fields.number("scale");
  spec.mean = read_numbers(fields, "mean");
  spec.std = read_numbers(fields, "std");
  if (fields.has("layout")) spec.layout = fields.choice("layout", {"NCHW", "NHWC"});
  spec.dtype = fields.text_or_empty("dtype");
  check_values(fields, spec);
  return spec;
}

}  // namespace bm
