#include "npy.h"

#include <cstdint>

#include "check.h"
#include "dtype.h"
#include "files.h"

namespace {

bm::Array parse(const std::string& bytes) {
  return bm::parse_npy(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), "f");
}

std::string file(const std::string& header, const std::string& data) {
  std::string bytes("\x93NUMPY\1\0", 8);
  bytes += static_cast<char>(header.size() & 0xff);
  bytes += static_cast<char>(header.size() >> 8);
  return bytes + header + data;
}

std::string header(const std::string& descr, const std::string& shape) {
  return "{'descr': '" + descr + "', 'fortran_order': False, 'shape': " + shape + ", }\n";
}

}  // namespace

TEST(npy_round_trip) {
  for (int code = 0; code < 20; ++code) {
    const auto dtype = static_cast<bm_dtype>(code);
    if (bm::dtype_bytes(dtype) == 0) continue;
    bm::Array array = bm::make_array(dtype, {2, 3});
    for (std::size_t i = 0; i < array.data.size(); ++i)
      array.data[i] = static_cast<unsigned char>(dtype == BM_BOOL ? i % 2 : i);
    const std::string bytes = bm::npy_bytes(array);
    const bm::Array read = parse(bytes);
    CHECK((bytes.size() - array.data.size()) % 64 == 0);
    CHECK(read.dtype == dtype && read.shape == array.shape && read.data == array.data);
    CHECK(bm::dtype_of(bm::dtype_name(dtype)) == dtype);
  }
}

TEST(npy_ranks) {
  CHECK(parse(file(header("|u1", "()"), "a")).shape.empty());
  CHECK(parse(file(header("|u1", "(1,)"), "a")).shape == std::vector<std::int64_t>{1});
  CHECK(parse(file(header("<f4", "(0, 3)"), "")).data.empty());
  CHECK(parse(bm::npy_bytes(bm::make_array(BM_INT64, {}))).data.size() == 8);
}

TEST(npy_version_2) {
  const std::string text = header("|u1", "(1,)");
  std::string bytes("\x93NUMPY\2\0", 8);
  bytes += {static_cast<char>(text.size()), '\0', '\0', '\0'};
  CHECK(parse(bytes + text + "a").data.size() == 1);
}

TEST(npy_refuses_what_does_not_fit) {
  CHECK_FAILS(BM_BAD_INPUT, "has 3 bytes", parse(file(header("<f4", "(1,)"), "abc")));
  CHECK_FAILS(BM_BAD_INPUT, "has 5 bytes", parse(file(header("<f4", "(1,)"), "abcde")));
  CHECK_FAILS(BM_BAD_INPUT, "bytes for an array",
              parse(file(header("<f8", "(1000000000, 1000000000)"), "")));
  CHECK_FAILS(BM_BAD_INPUT, "too many elements",
              parse(file(header("|u1", "(9223372036854775807, 9223372036854775807)"), "")));
  CHECK_FAILS(BM_BAD_INPUT, "neither 0 nor 1", parse(file(header("|b1", "(1,)"), "\2")));
}

TEST(npy_refuses_other_layouts) {
  CHECK_FAILS(BM_BAD_INPUT, "'>f4'", parse(file(header(">f4", "(1,)"), "abcd")));
  CHECK_FAILS(BM_BAD_INPUT, "'|O'", parse(file(header("|O", "(1,)"), "abcd")));
  CHECK_FAILS(BM_BAD_INPUT, "Fortran",
              parse(file("{'descr': '|u1', 'fortran_order': True, 'shape': (1,)}", "a")));
  CHECK_FAILS(
      BM_BAD_INPUT, "fields",
      parse(file("{'descr': [('a', '|u1')], 'fortran_order': False, 'shape': (1,)}", "a")));
}

TEST(npy_refuses_bad_headers) {
  const char* texts[] = {
      "",
      "{}",
      "{'descr': '|u1', 'fortran_order': False, 'shape': (1)}",
      "{'descr': '|u1', 'fortran_order': False, 'shape': (-1,)}",
      "{'descr': '|u1', 'fortran_order': False, 'shape': (1,)",
      "{'descr': '|u1', 'descr': '|u1', 'fortran_order': False, 'shape': (1,)}",
      "{'descr': '|u1', 'fortran_order': 0, 'shape': (1,)}",
      "{'descr': '|u1', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1)}",
      "{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999999999999,)}",
      "{'descr': '|u1', 'fortran_order': False, 'shape': (1,)} x",
      "{'descr': '|u1, 'fortran_order': False, 'shape': (1,)}"};
  for (const char* text : texts) CHECK_FAILS(BM_BAD_INPUT, "f: ", parse(file(text, "a")));
}

TEST(npy_refuses_cut_off_files) {
  const std::string whole = bm::npy_bytes(bm::make_array(BM_INT32, {3}));
  for (std::size_t size = 0; size < whole.size(); ++size)
    CHECK_FAILS(BM_BAD_INPUT, "f: ", parse(whole.substr(0, size)));
}

TEST(array_limits) {
  CHECK_FAILS(BM_BAD_INPUT, "too large", bm::make_array(BM_FLOAT64, {1 << 20, 1 << 20}));
  CHECK_FAILS(BM_BAD_INPUT, "too many axes", bm::make_array(BM_INT8, {1, 1, 1, 1, 1, 1, 1, 1, 1}));
  CHECK_FAILS(BM_BAD_INPUT, "negative", bm::make_array(BM_INT8, {-1}));
  CHECK_FAILS(BM_BAD_INPUT, "dtype", bm::make_array(static_cast<bm_dtype>(8), {1}));
}

TEST(half_precision) {
  CHECK(bm::half_to_float(0x3c00) == 1.0f);
  CHECK(bm::half_to_float(0xc000) == -2.0f);
  CHECK(bm::half_to_float(0x7bff) == 65504.0f);
  CHECK(bm::half_to_float(0x0001) == 5.9604644775390625e-8f);
  CHECK(bm::half_to_float(0x7c00) > 1e30f);
  CHECK(bm::half_to_float(0x7e00) != bm::half_to_float(0x7e00));
}
