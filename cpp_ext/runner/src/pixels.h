#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "manifest.h"
#include "npy.h"

// Pictures to input tensors, as bmopt.data.pixels and bmopt.data.images do it in Python. Resizing,
// grey and normalisation give the same bits as there (NumPy and Pillow 13; resizing of an older
// Pillow differs by at most one level). Of decoding, PNG gives the same bits, JPEG pixels within 4
// of 255 levels of Pillow's (libjpeg-turbo), 0.2 on average.
namespace bm {

// Rows of interleaved pixels; 1 channel is grey, 3 are red, green, blue.
struct Image {
  int height = 0;
  int width = 0;
  int channels = 0;
  std::vector<std::uint8_t> pixels;
};

// Images above this are refused, as Pillow does.
constexpr std::int64_t kMostPixels = 178956970;

// Whether this build can decode pictures.
bool can_decode_images();

// Whether a file's name is one of a picture: .jpg, .jpeg or .png in any case.
bool is_image_name(const std::string& path);

// Read a JPEG or PNG file as it is stored: no EXIF rotation; alpha is dropped. Throws Failure
// (BM_BAD_INPUT) where it is missing, damaged or too large, or has grey of 16 bits.
Image decode_image(const std::string& path);

// Why the bytes of a JPEG or PNG file are not whole, empty where they are: the decoder itself
// lets truncated and changed files pass.
std::string damage(const std::string& bytes);

// Pillow's convert("L").
Image grey(const Image& image);

// Pillow's resize with the antialiased bilinear filter.
Image resized(const Image& image, int height, int width);

// Pillow's resize to `resize` of the manifest: a short side, rounded half to even, or a size.
Image resized_as(const Image& image, const std::vector<std::int64_t>& resize);

// The centre; odd margins lose the extra line at the end. `where` names the picture in an error.
Image cropped(const Image& image, const std::vector<std::int64_t>& crop, const std::string& where);

// The tensor that `input` wants of a picture; a batch larger than 1 repeats it. `where` names the
// picture in an error. Throws Failure (BM_BAD_INPUT) where it does not fit the input.
Array image_tensor(const Image& image, const PreprocessSpec& steps, const TensorSpec& input,
                   const std::string& where);

// NumPy's astype to `dtype`, for values of one dense array.
std::vector<unsigned char> cast_values(const std::vector<float>& values, bm_dtype dtype);
std::vector<unsigned char> cast_values(const std::vector<std::uint8_t>& values, bm_dtype dtype);

}  // namespace bm
