#include "npy.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "dtype.h"
#include "failure.h"
#include "files.h"
#include "npy_header.h"

namespace bm {
namespace {

constexpr char kMagic[] = "\x93NUMPY";
constexpr std::size_t kMagicBytes = 6;
constexpr std::size_t kPrefixBytes = kMagicBytes + 2 + 2;  // Of version 1.
constexpr std::size_t kHeaderBytes = std::size_t{1} << 16;
constexpr std::size_t kAlignment = 64;

// Where the header's text begins and how long it is.
struct Extent {
  std::size_t begin;
  std::size_t size;
};

Extent header_extent(const unsigned char* bytes, std::size_t size, const std::string& where) {
  if (size < kPrefixBytes + 2 || std::memcmp(bytes, kMagic, kMagicBytes) != 0)
    bad_input(where + ": is no NPY file");
  const unsigned char version = bytes[kMagicBytes];
  if (version != 1 && version != 2)
    bad_input(where + ": NPY version " + std::to_string(version) + " is not supported");
  const unsigned char* length = bytes + kMagicBytes + 2;
  std::size_t text = length[0] | std::size_t{length[1]} << 8;
  if (version == 2) text |= std::size_t{length[2]} << 16 | std::size_t{length[3]} << 24;
  const Extent extent{kMagicBytes + 2 + (version == 1 ? 2u : 4u), text};
  if (text > kHeaderBytes || text > size - extent.begin)
    bad_input(where + ": its header is cut off");
  return extent;
}

bool has_bad_bool(const Array& array) {
  if (array.dtype != BM_BOOL) return false;
  return std::any_of(array.data.begin(), array.data.end(), [](unsigned char c) { return c > 1; });
}

}  // namespace

bm_tensor Array::tensor() {
  bm_tensor view{};
  view.dtype = dtype;
  view.rank = static_cast<std::int32_t>(shape.size());
  std::copy(shape.begin(), shape.end(), view.shape);
  view.data = data.data();
  view.bytes = data.size();
  return view;
}

std::size_t count_elements(const std::vector<std::int64_t>& shape) {
  std::size_t count = 1;
  bool is_empty = false;
  for (const std::int64_t extent : shape) {
    if (extent < 0) bad_input("a size of " + std::to_string(extent) + " is negative");
    is_empty = is_empty || extent == 0;
    if (extent > 0 && __builtin_mul_overflow(count, static_cast<std::size_t>(extent), &count))
      bad_input("a shape has too many elements");
  }
  return is_empty ? 0 : count;
}

Array make_array(bm_dtype dtype, std::vector<std::int64_t> shape) {
  if (shape.size() > BM_MAX_RANK) bad_input("an array has too many axes");
  if (dtype_bytes(dtype) == 0) bad_input("an array has no known dtype");
  std::size_t bytes = 0;
  if (__builtin_mul_overflow(count_elements(shape), dtype_bytes(dtype), &bytes) ||
      bytes > kArrayBytes)
    bad_input("an array of shape " + shape_text(shape.data(), shape.size()) + " is too large");
  return {dtype, std::move(shape), std::vector<unsigned char>(bytes)};
}

Array parse_npy(const unsigned char* bytes, std::size_t size, const std::string& where) {
  const Extent extent = header_extent(bytes, size, where);
  const char* text = reinterpret_cast<const char*>(bytes) + extent.begin;
  NpyHeader header = parse_npy_header(std::string(text, extent.size), where);
  const std::size_t begin = extent.begin + extent.size;
  // Compared before anything is allocated: a small file must not ask for gigabytes.
  std::size_t expected = 0;
  const std::size_t count = count_elements(header.shape);
  if (__builtin_mul_overflow(count, dtype_bytes(header.dtype), &expected) ||
      expected != size - begin)
    bad_input(where + ": has " + std::to_string(size - begin) + " bytes for an array of shape " +
              shape_text(header.shape.data(), header.shape.size()) + " and " +
              dtype_name(header.dtype));
  Array array = make_array(header.dtype, std::move(header.shape));
  std::copy(bytes + begin, bytes + size, array.data.begin());
  if (has_bad_bool(array)) bad_input(where + ": has a bool that is neither 0 nor 1");
  return array;
}

Array read_npy(const std::string& path) {
  const std::string bytes = read_user_file(path, kArrayBytes + kHeaderBytes);
  return parse_npy(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), path);
}

std::string npy_bytes(const Array& array) {
  std::string header = npy_header({array.dtype, array.shape});
  const std::size_t length = kPrefixBytes + header.size() + 1;
  header.append((kAlignment - length % kAlignment) % kAlignment, ' ');
  header += '\n';
  std::string out(kMagic, kMagicBytes);
  out +=
      {'\1', '\0', static_cast<char>(header.size() & 0xff), static_cast<char>(header.size() >> 8)};
  out += header;
  out.append(reinterpret_cast<const char*>(array.data.data()), array.data.size());
  return out;
}

void write_npy(const std::string& path, const Array& array) {
  write_file(path, npy_bytes(array));
}

}  // namespace bm
