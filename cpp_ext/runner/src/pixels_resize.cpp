#include <algorithm>
#include <cmath>
#include <cstdint>

#include "failure.h"
#include "pixels.h"

namespace bm {
namespace {

constexpr int kPrecisionBits = 32 - 8 - 2;
constexpr int kMostSide = 1 << 16;

// Weights of the input pixels of every output pixel, in fixed point.
struct Filter {
  int width = 0;             // Weights stored for each output pixel.
  std::vector<int> first;    // First input pixel.
  std::vector<int> count;    // How many.
  std::vector<int> weights;  // `width` for each output pixel.
};

double triangle(double x) {
  const double distance = std::fabs(x);
  return distance < 1.0 ? 1.0 - distance : 0.0;
}

int fixed_point(double weight) {
  return static_cast<int>(0.5 + weight * (1 << kPrecisionBits));
}

// One output pixel: `centre` and `stretch` (of the filter, at least 1) are in input pixels.
void append_weights(Filter* filter, double centre, double stretch, int input) {
  const int begin = std::max(0, static_cast<int>(centre - stretch + 0.5));
  const int end = std::min(input, static_cast<int>(centre + stretch + 0.5));
  const double inverse = 1.0 / stretch;
  std::vector<double> weights(static_cast<std::size_t>(filter->width), 0.0);
  double sum = 0.0;
  for (int x = begin; x < end; ++x) {
    const double weight = triangle((x - centre + 0.5) * inverse);
    weights[static_cast<std::size_t>(x - begin)] = weight;
    sum += weight;
  }
  for (const double weight : weights) {
    filter->weights.push_back(fixed_point(sum != 0.0 ? weight / sum : weight));
  }
  filter->first.push_back(begin);
  filter->count.push_back(end - begin);
}

Filter filter_for(int input, int output) {
  const double scale = static_cast<double>(input) / output;
  const double stretch = std::max(scale, 1.0);
  Filter filter;
  filter.width = static_cast<int>(std::ceil(stretch)) * 2 + 1;
  for (int x = 0; x < output; ++x) {
    append_weights(&filter, (x + 0.5) * scale, stretch, input);
  }
  return filter;
}

std::uint8_t clipped(int sum) {
  const int level = sum >> kPrecisionBits;
  return static_cast<std::uint8_t>(level < 0 ? 0 : level > 255 ? 255 : level);
}

// Weighted sum of pixels `stride` bytes apart.
std::uint8_t convolved(const std::uint8_t* source, std::size_t stride, const int* weights,
                       int count) {
  int sum = 1 << (kPrecisionBits - 1);
  for (int i = 0; i < count; ++i) {
    sum += source[static_cast<std::size_t>(i) * stride] * weights[i];
  }
  return clipped(sum);
}

Image blank(int height, int width, int channels) {
  Image image{height, width, channels, {}};
  image.pixels.resize(static_cast<std::size_t>(height) * static_cast<std::size_t>(width) *
                      static_cast<std::size_t>(channels));
  return image;
}

Image resized_width(const Image& image, int width) {
  const Filter filter = filter_for(image.width, width);
  Image result = blank(image.height, width, image.channels);
  const auto channels = static_cast<std::size_t>(image.channels);
  std::uint8_t* out = result.pixels.data();
  for (int y = 0; y < image.height; ++y) {
    const std::uint8_t* row =
        image.pixels.data() + static_cast<std::size_t>(y) * image.width * channels;
    for (std::size_t x = 0; x < static_cast<std::size_t>(width); ++x) {
      const std::uint8_t* from = row + static_cast<std::size_t>(filter.first[x]) * channels;
      const int* weights = &filter.weights[x * filter.width];
      for (std::size_t c = 0; c < channels; ++c) {
        *out++ = convolved(from + c, channels, weights, filter.count[x]);
      }
    }
  }
  return result;
}

Image resized_height(const Image& image, int height) {
  const Filter filter = filter_for(image.height, height);
  Image result = blank(height, image.width, image.channels);
  const auto row =
      static_cast<std::size_t>(image.width) * static_cast<std::size_t>(image.channels);
  std::uint8_t* out = result.pixels.data();
  for (std::size_t y = 0; y < static_cast<std::size_t>(height); ++y) {
    const std::uint8_t* from =
        image.pixels.data() + static_cast<std::size_t>(filter.first[y]) * row;
    const int* weights = &filter.weights[y * filter.width];
    for (std::size_t x = 0; x < row; ++x) {
      *out++ = convolved(from + x, row, weights, filter.count[y]);
    }
  }
  return result;
}

// Which pass Pillow 13 runs first, as found by comparing; older ones always begin with the width,
// which gives other pixels by at most one level.
bool is_height_first(const Image& image, int height, int width) {
  return image.height > height && image.height - height > 2 * (image.width - width);
}

// Sides that no memory could hold are refused before they overflow.
int side_of(double exact) {
  if (!(exact <= kMostSide)) {
    bad_input("preprocess.resize: gives a side of more than " + std::to_string(kMostSide) +
              " pixels");
  }
  return std::max(1, static_cast<int>(std::nearbyint(exact)));
}

int scaled_side(int side, std::int64_t wanted, int short_side) {
  return side_of(static_cast<double>(side) * static_cast<double>(wanted) / short_side);
}

}  // namespace

Image resized(const Image& image, int height, int width) {
  if (image.width == width) {
    return image.height == height ? image : resized_height(image, height);
  }
  if (image.height == height) {
    return resized_width(image, width);
  }
  return is_height_first(image, height, width)
             ? resized_width(resized_height(image, height), width)
             : resized_height(resized_width(image, width), height);
}

Image resized_as(const Image& image, const std::vector<std::int64_t>& resize) {
  if (resize.empty()) {
    return image;
  }
  if (resize.size() == 2) {
    return resized(image, side_of(static_cast<double>(resize[0])),
                   side_of(static_cast<double>(resize[1])));
  }
  const int short_side = std::min(image.height, image.width);
  return resized(image, scaled_side(image.height, resize[0], short_side),
                 scaled_side(image.width, resize[0], short_side));
}

}  // namespace bm
