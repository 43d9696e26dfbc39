// The runner's inner functions for Python's ctypes: see native_probe.py.
#include <algorithm>
#include <cstring>

#include "base64.h"
#include "classes.h"
#include "dtype.h"
#include "failure.h"
#include "json.h"
#include "pixels.h"
#include "signature.h"

namespace {

thread_local std::string message;

// Run `work`, which returns a number of bytes; a Failure becomes minus its status.
template <typename Work>
long guarded(Work work) {
  try {
    return static_cast<long>(work());
  } catch (const bm::Failure& failure) {
    message = failure.message;
    return -failure.status;
  }
}

std::vector<double> numbers(const bm::Json& document, const char* key) {
  std::vector<double> found;
  if (const bm::Json* value = document.find(key)) {
    for (const bm::Json& entry : value->as_list(key)) found.push_back(entry.as_number(key));
  }
  return found;
}

std::vector<std::int64_t> integers(const bm::Json& document, const char* key) {
  const std::vector<double> found = numbers(document, key);
  return {found.begin(), found.end()};
}

std::string text(const bm::Json& document, const char* key) {
  const bm::Json* value = document.find(key);
  return value == nullptr ? "" : value->as_text(key);
}

bm::PreprocessSpec steps_of(const bm::Json& document) {
  bm::PreprocessSpec steps;
  steps.resize = integers(document, "resize");
  steps.crop = integers(document, "crop");
  steps.channels = text(document, "channels");
  if (const bm::Json* scale = document.find("scale")) steps.scale = scale->as_number("scale");
  steps.mean = numbers(document, "mean");
  steps.std = numbers(document, "std");
  steps.layout = text(document, "layout");
  steps.dtype = text(document, "dtype");
  return steps;
}

bm::Image image_of(const std::uint8_t* pixels, const int* size) {
  const long count = static_cast<long>(size[0]) * size[1] * size[2];
  return {size[0], size[1], size[2], std::vector<std::uint8_t>(pixels, pixels + count)};
}

template <typename Bytes>
std::size_t give(const Bytes& bytes, void* out, std::size_t capacity) {
  if (bytes.size() > capacity) bm::bad_input("the buffer is too small");
  std::memcpy(out, bytes.data(), bytes.size());
  return bytes.size();
}

std::size_t give_image(const bm::Image& image, void* out, std::size_t capacity, int* size) {
  size[0] = image.height;
  size[1] = image.width;
  size[2] = image.channels;
  return give(image.pixels, out, capacity);
}

}  // namespace

extern "C" {

const char* probe_message() {
  return message.c_str();
}

long probe_decode(const char* path, void* out, std::size_t capacity, int* size) {
  return guarded([&] { return give_image(bm::decode_image(path), out, capacity, size); });
}

long probe_resize(const std::uint8_t* pixels, const int* from, int* to, void* out,
                  std::size_t capacity) {
  return guarded([&] {
    return give_image(bm::resized(image_of(pixels, from), to[0], to[1]), out, capacity, to);
  });
}

long probe_tensor(const std::uint8_t* pixels, const int* from, const char* steps,
                  const char* input, void* out, std::size_t capacity, std::int64_t* shape) {
  return guarded([&] {
    const bm::Json wanted = bm::parse_json(input, "input");
    const bm::TensorSpec spec{"x", bm::dtype_of(text(wanted, "dtype")), integers(wanted, "shape"),
                              ""};
    const bm::Array array = bm::image_tensor(
        image_of(pixels, from), steps_of(bm::parse_json(steps, "steps")), spec, "a picture");
    std::copy(array.shape.begin(), array.shape.end(), shape);
    return give(array.data, out, capacity);
  });
}

long probe_cast(const float* values, std::size_t count, const char* dtype, void* out,
                std::size_t capacity) {
  return guarded([&] {
    const std::vector<float> floats(values, values + count);
    return give(bm::cast_values(floats, bm::dtype_of(dtype)), out, capacity);
  });
}

long probe_base64(const char* encoded, std::size_t size, void* out, std::size_t capacity) {
  return guarded([&] {
    const auto bytes = bm::base64_decoded(std::string(encoded, size));
    if (!bytes) bm::bad_input("no base64");
    return give(*bytes, out, capacity);
  });
}

long probe_signature(const char* folder, const char* key, void* out, std::size_t capacity) {
  return guarded([&] {
    const std::string demanded = *key == '\0' ? "" : bm::public_key_of(key);
    return give(bm::check_signature(folder, demanded).value_or(""), out, capacity);
  });
}

long probe_top(const float* scores, std::size_t count, std::size_t wanted, void* out,
               std::size_t capacity) {
  return guarded([&] {
    bm::Array array = bm::make_array(BM_FLOAT32, {1, static_cast<std::int64_t>(count)});
    std::memcpy(array.data.data(), scores, array.data.size());
    std::string indices;
    for (const bm::Ranked& one : bm::top_scores(array, wanted)) {
      indices += std::to_string(one.index) + " ";
    }
    return give(indices, out, capacity);
  });
}

long probe_labels(const char* path, void* out, std::size_t capacity) {
  return guarded([&] {
    std::string joined;
    for (const std::string& label : bm::read_labels(path)) joined += label + "|";
    return give(joined, out, capacity);
  });
}
}
