#pragma once

#include <cstddef>

namespace bmopt {

// How a peak is measured: every repetition runs for this long on that many threads at once, and
// the fastest repetition counts, for whatever disturbs a loop makes it slower.
struct Effort {
  double milliseconds;
  unsigned repetitions;
  unsigned threads;
};

// Arithmetic operations per second of all threads together; a multiply-add counts as two.
double float32_rate(const Effort& effort);
double int8_rate(const Effort& effort);

// Bytes per second of all threads together, each on its own part of a buffer of `bytes` in all.
double read_rate(std::size_t bytes, const Effort& effort);

// The same for copies from one half of the buffer to the other: read and written bytes count.
double copy_rate(std::size_t bytes, const Effort& effort);

}  // namespace bmopt
