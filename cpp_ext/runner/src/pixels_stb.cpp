#include "pixels_stb.h"

namespace {

// Chroma of 4:2:2 to twice its width, as libjpeg's "fancy upsampling" does it: three quarters of
// the nearer pixel, one of the farther. That of stb takes the wrong one at the right edge, where
// it is off by up to 170 levels.
stbi_uc* doubled_row(stbi_uc* out, stbi_uc* row, stbi_uc*, int width, int) {
  for (int i = 0; i < width; ++i) {
    const int left = i > 0 ? row[i - 1] : row[i];
    const int right = i + 1 < width ? row[i + 1] : row[i];
    out[2 * i] = static_cast<stbi_uc>((3 * row[i] + left + 1) >> 2);
    out[2 * i + 1] = static_cast<stbi_uc>((3 * row[i] + right + 2) >> 2);
  }
  return out;
}

// stb names its function without parentheses where it uses it: that finds this one. Where it
// defines it there are some: that finds the macro.
constexpr auto stbi__resample_row_h_2 = doubled_row;

}  // namespace

#pragma GCC diagnostic ignored "-Wunused-function"
#define stbi__resample_row_h_2(out, near, far, width, factor) \
  replaced_resample_row_h_2(out, near, far, width, factor)
#define STB_IMAGE_IMPLEMENTATION
#include <stb_image.h>
