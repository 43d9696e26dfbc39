#include <algorithm>
#include <cmath>
#include <cstdint>

#include "dtype.h"
#include "failure.h"
#include "pixels.h"

namespace bm {
namespace {

// What the input says of its axes, resolved as bmopt.data.pixels does.
struct Target {
  int channels = 0;  // 0 where the shape leaves it open.
  bool has_channel_axis = true;
  bool is_channels_first = true;
};

bool is_image_channels(std::int64_t count) {
  return count == 1 || count == 3;
}

Target target_of(const PreprocessSpec& steps, const TensorSpec& input, const std::string& where) {
  const std::size_t rank = input.shape.size();
  if (rank != 3 && rank != 4) {
    bad_input(where + ": input '" + input.name + "' of shape " +
              shape_text(input.shape.data(), rank) + " takes no picture; give it as .npy");
  }
  if (rank == 3) {
    return {1, false, false};
  }
  const bool is_last = steps.layout.empty() ? !is_image_channels(input.shape[1]) &&
                                                  is_image_channels(input.shape[3])
                                            : steps.layout == "NHWC";
  const std::int64_t count = input.shape[is_last ? 3 : 1];
  return {count > 0 ? static_cast<int>(std::min<std::int64_t>(count, 255)) : 0, true, !is_last};
}

bool wants_grey(const PreprocessSpec& steps, const Target& target) {
  return steps.channels.empty() ? target.channels == 1 : steps.channels == "GRAY";
}

Image replicated(const Image& image) {
  Image result{image.height, image.width, 3, {}};
  for (const std::uint8_t pixel : image.pixels) {
    result.pixels.insert(result.pixels.end(), 3, pixel);
  }
  return result;
}

Image reversed(Image image) {
  for (std::size_t i = 0; i + 2 < image.pixels.size(); i += 3) {
    std::swap(image.pixels[i], image.pixels[i + 2]);
  }
  return image;
}

Image with_channels(const Image& image, const PreprocessSpec& steps, const Target& target) {
  if (wants_grey(steps, target)) {
    return image.channels == 3 ? grey(image) : image;
  }
  return image.channels == 1 ? replicated(image) : image;
}

// One step of the normalisation; steps stay apart so that no compiler fuses them.
template <typename Step>
void apply(std::vector<float>* values, const std::vector<double>& numbers, const std::string& name,
           int channels, const std::string& where, Step step) {
  if (numbers.empty()) {
    return;
  }
  if (numbers.size() != 1 && numbers.size() != static_cast<std::size_t>(channels)) {
    bad_input(where + ": " + name + " has " + std::to_string(numbers.size()) + " values for " +
              std::to_string(channels) + " channel(s)");
  }
  for (std::size_t i = 0; i < values->size(); ++i) {
    (*values)[i] = step((*values)[i], static_cast<float>(numbers[i % numbers.size()]));
  }
}

std::vector<float> normalised(const Image& image, const PreprocessSpec& steps,
                              const std::string& where) {
  std::vector<float> values(image.pixels.begin(), image.pixels.end());
  const std::vector<double> scale =
      steps.scale ? std::vector<double>{*steps.scale} : std::vector<double>{};
  apply(&values, scale, "scale", image.channels, where, [](float x, float y) { return x * y; });
  apply(&values, steps.mean, "mean", image.channels, where,
        [](float x, float y) { return x - y; });
  apply(&values, steps.std, "std", image.channels, where, [](float x, float y) { return x / y; });
  return values;
}

template <typename Value>
std::vector<Value> channels_first(const std::vector<Value>& values, int channels) {
  std::vector<Value> result;
  result.reserve(values.size());
  for (std::size_t c = 0; c < static_cast<std::size_t>(channels); ++c) {
    for (std::size_t i = c; i < values.size(); i += static_cast<std::size_t>(channels)) {
      result.push_back(values[i]);
    }
  }
  return result;
}

bool is_float(bm_dtype dtype) {
  return dtype == BM_FLOAT32 || dtype == BM_FLOAT16 || dtype == BM_FLOAT64;
}

template <typename Value>
std::vector<unsigned char> laid_out(const std::vector<Value>& values, const Target& target,
                                    int channels, bm_dtype dtype) {
  return cast_values(target.is_channels_first ? channels_first(values, channels) : values, dtype);
}

// Floats become integers, and the picture another type than the input's, only where dtype= says.
std::vector<unsigned char> elements(const Image& image, const PreprocessSpec& steps,
                                    const TensorSpec& input, const Target& target,
                                    const std::string& where) {
  const bool normalises = steps.scale || !steps.mean.empty() || !steps.std.empty();
  if (!steps.dtype.empty() && dtype_of(steps.dtype) != input.dtype) {
    bad_input(where + ": is made " + steps.dtype + ", but input '" + input.name + "' wants " +
              dtype_name(input.dtype));
  }
  if (normalises && !is_float(input.dtype) && steps.dtype.empty()) {
    bad_input(where + ": is float32 after scale, mean and std, but input '" + input.name +
              "' wants " + dtype_name(input.dtype) + "; package it with dtype=");
  }
  if (!normalises && !is_float(input.dtype)) {
    return laid_out(image.pixels, target, image.channels, input.dtype);
  }
  return laid_out(normalised(image, steps, where), target, image.channels, input.dtype);
}

std::vector<std::int64_t> shape_of(const Image& image, const Target& target) {
  if (!target.has_channel_axis) {
    return {1, image.height, image.width};
  }
  if (target.is_channels_first) {
    return {1, image.channels, image.height, image.width};
  }
  return {1, image.height, image.width, image.channels};
}

void require_shape(const Array& array, const TensorSpec& input, const std::string& where) {
  bool fits = true;
  for (std::size_t axis = 1; axis < array.shape.size(); ++axis) {
    fits = fits && (input.shape[axis] < 0 || input.shape[axis] == array.shape[axis]);
  }
  if (!fits) {
    bad_input(where + ": gives " + shape_text(array.shape.data(), array.shape.size()) +
              ", but input '" + input.name + "' wants " +
              shape_text(input.shape.data(), input.shape.size()));
  }
}

void require_finite(const Array& array, const std::string& where) {
  if (!is_float(array.dtype)) {
    return;
  }
  const std::size_t count = array.data.size() / dtype_bytes(array.dtype);
  for (std::size_t i = 0; i < count; ++i) {
    if (!std::isfinite(element(array.dtype, array.data.data(), i))) {
      bad_input(where + ": some values are not finite as " + dtype_name(array.dtype) +
                "; check scale, mean and std");
    }
  }
}

void fill_batch(Array* array, std::int64_t batch) {
  const std::vector<unsigned char> one = array->data;
  for (std::int64_t i = 1; i < batch; ++i) {
    array->data.insert(array->data.end(), one.begin(), one.end());
    ++array->shape[0];
  }
}

}  // namespace

Array image_tensor(const Image& image, const PreprocessSpec& steps, const TensorSpec& input,
                   const std::string& where) {
  const Target target = target_of(steps, input, where);
  Image done =
      cropped(resized_as(with_channels(image, steps, target), steps.resize), steps.crop, where);
  if (steps.channels == "BGR" && done.channels == 3) {
    done = reversed(std::move(done));
  }
  Array array;
  array.dtype = input.dtype;
  array.shape = shape_of(done, target);
  require_shape(array, input, where);
  array.data = elements(done, steps, input, target, where);
  require_finite(array, where);
  fill_batch(&array, input.shape[0]);
  return array;
}

}  // namespace bm
