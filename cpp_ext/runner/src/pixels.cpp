#include "pixels.h"

#include <algorithm>
#include <cstdint>

#include "failure.h"

namespace bm {

Image grey(const Image& image) {
  Image result{image.height, image.width, 1, {}};
  result.pixels.reserve(image.pixels.size() / 3);
  for (std::size_t i = 0; i + 2 < image.pixels.size(); i += 3) {
    const std::uint8_t* rgb = &image.pixels[i];
    // 0.299, 0.587 and 0.114 (ITU-R BT.601) in 1/65536.
    const std::uint32_t luma = rgb[0] * 19595U + rgb[1] * 38470U + rgb[2] * 7471U + 0x8000U;
    result.pixels.push_back(static_cast<std::uint8_t>(luma >> 16));
  }
  return result;
}

Image cropped(const Image& image, const std::vector<std::int64_t>& crop,
              const std::string& where) {
  if (crop.empty()) {
    return image;
  }
  const auto height = static_cast<int>(std::min<std::int64_t>(crop.front(), kMostPixels));
  const auto width = static_cast<int>(std::min<std::int64_t>(crop.back(), kMostPixels));
  if (image.height < height || image.width < width) {
    bad_input(where + ": an image of " + std::to_string(image.height) + "x" +
              std::to_string(image.width) + " pixels is smaller than the crop of " +
              std::to_string(height) + "x" + std::to_string(width));
  }
  Image result{height, width, image.channels, {}};
  const auto channels = static_cast<std::size_t>(image.channels);
  const auto left = static_cast<std::size_t>((image.width - width) / 2);
  const auto top = static_cast<std::size_t>((image.height - height) / 2);
  for (std::size_t y = top; y < top + static_cast<std::size_t>(height); ++y) {
    const std::size_t begin = (y * static_cast<std::size_t>(image.width) + left) * channels;
    const auto row = image.pixels.begin() + static_cast<std::ptrdiff_t>(begin);
    result.pixels.insert(result.pixels.end(), row, row + width * image.channels);
  }
  return result;
}

}  // namespace bm
