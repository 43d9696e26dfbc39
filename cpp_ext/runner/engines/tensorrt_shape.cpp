#include <algorithm>
#include <cstdint>

#include "tensorrt_sdk.h"

namespace bm::trt {

bool Shape::operator==(const Shape& other) const {
  return rank == other.rank && std::equal(dims, dims + std::max(rank, 0), other.dims);
}

bool Shape::is_known() const {
  return rank >= 0 && std::none_of(dims, dims + rank, [](std::int64_t dim) { return dim < 0; });
}

std::int64_t Shape::elements() const {
  std::int64_t count = 1;
  for (int axis = 0; axis < rank; ++axis) {
    count *= dims[axis];
  }
  return count;
}

std::string Shape::text() const {
  std::string text;
  for (int axis = 0; axis < rank; ++axis) {
    text += (axis == 0 ? "" : "x") + (dims[axis] < 0 ? "?" : std::to_string(dims[axis]));
  }
  return text.empty() ? "scalar" : text;
}

bool ShapeSpan::has(const Shape& shape) const {
  for (int axis = 0; axis < shape.rank; ++axis) {
    if (shape.dims[axis] < low.dims[axis] || shape.dims[axis] > high.dims[axis]) {
      return false;
    }
  }
  return shape.rank == low.rank;
}

}  // namespace bm::trt
