#pragma once

#include <cstddef>

namespace bmopt {

// A borrowed, contiguous view (std::span needs C++20).
template <typename T>
struct Span {
  T* data;
  std::size_t size;

  T* begin() const { return data; }
  T* end() const { return data + size; }
  T& operator[](std::size_t index) const { return data[index]; }
  Span subspan(std::size_t offset, std::size_t count) const { return {data + offset, count}; }
};

}  // namespace bmopt
