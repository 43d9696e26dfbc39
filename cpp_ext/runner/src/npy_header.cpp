#include "npy_header.h"

#include <charconv>
#include <cstdint>
#include <cstring>

#include "failure.h"

namespace bm {
namespace {

struct Code {
  const char* text;
  bm_dtype dtype;
};

constexpr Code kCodes[] = {
    {"<f4", BM_FLOAT32}, {"|u1", BM_UINT8},   {"|i1", BM_INT8},   {"<u2", BM_UINT16},
    {"<i2", BM_INT16},   {"<i4", BM_INT32},   {"<i8", BM_INT64},  {"|b1", BM_BOOL},
    {"<f2", BM_FLOAT16}, {"<f8", BM_FLOAT64}, {"<u4", BM_UINT32}, {"<u8", BM_UINT64},
};

class Parser {
 public:
  Parser(const std::string& text, const std::string& where) : text_(text), where_(where) {}

  NpyHeader parse() {
    expect('{');
    while (!take('}')) {
      entry();
      if (!take(',')) {
        expect('}');
        break;
      }
    }
    skip_space();
    if (at_ != text_.size() || !has_descr_ || !has_order_ || !has_shape_) fault();
    return header_;
  }

 private:
  [[noreturn]] void fault() const { bad_input(where_ + ": not a valid NPY header"); }

  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
  }

  bool take(char c) {
    skip_space();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  void expect(char c) {
    if (!take(c)) fault();
  }

  bool take_word(const char* word) {
    skip_space();
    if (text_.compare(at_, std::strlen(word), word) != 0) return false;
    at_ += std::strlen(word);
    return true;
  }

  std::string quoted() {
    const char mark = take('\'') ? '\'' : '"';
    if (mark == '"') expect('"');
    const std::size_t end = text_.find(mark, at_);
    if (end == std::string::npos) fault();
    std::string out = text_.substr(at_, end - at_);
    at_ = end + 1;
    return out;
  }

  void entry() {
    const std::string key = quoted();
    expect(':');
    if (key == "descr" && !has_descr_)
      descr();
    else if (key == "fortran_order" && !has_order_)
      order();
    else if (key == "shape" && !has_shape_)
      shape();
    else
      fault();
  }

  void descr() {
    has_descr_ = true;
    if (!take('\'') && !take('"')) bad_input(where_ + ": has fields; a plain array is needed");
    --at_;
    const std::string text = quoted();
    for (const Code& code : kCodes)
      if (text == code.text) header_.dtype = code.dtype;
    if (header_.dtype == 0)
      bad_input(where_ + ": dtype '" + text +
                "' is not supported; save it little-endian, as one "
                "of the numeric types or bool");
  }

  void order() {
    has_order_ = true;
    if (take_word("True"))
      bad_input(where_ + ": is in Fortran order; save numpy.ascontiguousarray of it");
    if (!take_word("False")) fault();
  }

  void shape() {
    has_shape_ = true;
    expect('(');
    bool is_comma_missing = false;
    while (!take(')')) {
      if (is_comma_missing || header_.shape.size() == BM_MAX_RANK) fault();
      header_.shape.push_back(extent());
      is_comma_missing = !take(',');
    }
    if (header_.shape.size() == 1 && is_comma_missing) fault();
  }

  std::int64_t extent() {
    skip_space();
    std::int64_t value = 0;
    const char* begin = text_.data() + at_;
    const auto read = std::from_chars(begin, text_.data() + text_.size(), value);
    if (read.ec != std::errc() || value < 0) fault();
    at_ += static_cast<std::size_t>(read.ptr - begin);
    return value;
  }

  const std::string& text_;
  const std::string& where_;
  std::size_t at_ = 0;
  NpyHeader header_{};
  bool has_descr_ = false;
  bool has_order_ = false;
  bool has_shape_ = false;
};

const char* code_of(bm_dtype dtype) {
  for (const Code& code : kCodes)
    if (code.dtype == dtype) return code.text;
  bad_input("an array without dtype cannot be written");
}

}  // namespace

NpyHeader parse_npy_header(const std::string& text, const std::string& where) {
  return Parser(text, where).parse();
}

std::string npy_header(const NpyHeader& header) {
  std::string shape;
  for (const std::int64_t extent : header.shape)
    shape += (shape.empty() ? "" : ", ") + std::to_string(extent);
  if (header.shape.size() == 1) shape += ",";
  return std::string("{'descr': '") + code_of(header.dtype) +
         "', 'fortran_order': False, 'shape': (" + shape + "), }";
}

}  // namespace bm
