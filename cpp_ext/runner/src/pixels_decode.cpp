#include <cctype>
#include <cstdint>
#include <memory>

#include "failure.h"
#include "files.h"
#include "pixels.h"

#ifdef BMOPT_RUNNER_STB
#include "pixels_stb.h"
#endif

namespace bm {
namespace {

[[maybe_unused]] constexpr std::size_t kPictureBytes = std::size_t{1} << 30;

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

#ifdef BMOPT_RUNNER_STB
const stbi_uc* bytes_of(const std::string& file) {
  return reinterpret_cast<const stbi_uc*>(file.data());
}

[[noreturn]] void refuse(const std::string& path, const std::string& why) {
  bad_input(path + ": is no whole JPEG or PNG picture (" + why + ")");
}

void require_size_and_depth(const std::string& file, const std::string& path) {
  const int size = static_cast<int>(file.size());
  int width = 0;
  int height = 0;
  int channels = 0;
  if (stbi_info_from_memory(bytes_of(file), size, &width, &height, &channels) == 0) {
    refuse(path, stbi_failure_reason());
  }
  if (static_cast<std::int64_t>(width) * height > kMostPixels) {
    bad_input(path + ": has " + std::to_string(width) + "x" + std::to_string(height) +
              " pixels, more than the " + std::to_string(kMostPixels) + " that are read");
  }
  if (channels == 1 && stbi_is_16_bit_from_memory(bytes_of(file), size) != 0) {
    bad_input(path + ": has more than 8 bits per channel; convert it");
  }
}

// Grey or red, green, blue out of what was stored, whose alpha comes last.
Image without_alpha(const stbi_uc* stored, int height, int width, int channels) {
  Image image{height, width, channels < 3 ? 1 : 3, {}};
  const auto count = static_cast<std::size_t>(height) * static_cast<std::size_t>(width);
  image.pixels.reserve(count * static_cast<std::size_t>(image.channels));
  for (std::size_t i = 0; i < count; ++i, stored += channels) {
    image.pixels.insert(image.pixels.end(), stored, stored + image.channels);
  }
  return image;
}
#endif

}  // namespace

bool is_image_name(const std::string& path) {
  std::string lower;
  for (const char letter : path) {
    lower.push_back(static_cast<char>(std::tolower(static_cast<unsigned char>(letter))));
  }
  return ends_with(lower, ".jpg") || ends_with(lower, ".jpeg") || ends_with(lower, ".png");
}

#ifdef BMOPT_RUNNER_STB
bool can_decode_images() {
  return true;
}

Image decode_image(const std::string& path) {
  const std::string file = read_user_file(path, kPictureBytes);
  const std::string fault = damage(file);
  if (!fault.empty()) {
    refuse(path, fault);
  }
  require_size_and_depth(file, path);
  int width = 0;
  int height = 0;
  int channels = 0;
  const std::unique_ptr<stbi_uc, decltype(&stbi_image_free)> stored(
      stbi_load_from_memory(bytes_of(file), static_cast<int>(file.size()), &width, &height,
                            &channels, 0),
      &stbi_image_free);
  if (stored == nullptr) {
    refuse(path, stbi_failure_reason());
  }
  return without_alpha(stored.get(), height, width, channels);
}
#else
bool can_decode_images() {
  return false;
}

Image decode_image(const std::string& path) {
  bad_input(path + ": this bmopt-run was built without pictures; give the input as .npy");
}
#endif

}  // namespace bm
