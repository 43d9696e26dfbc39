#include "kernels/probe_loops.hpp"

#include <cstddef>
#include <cstdint>
#include <numeric>

#include "kernels/multiversion.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

// Forgets what the compiler knows of a value, so that it computes with it again.
#if defined(__x86_64__)
#define BMOPT_OPAQUE(value) asm volatile("" : "+x"(value))
#elif defined(__aarch64__)
#define BMOPT_OPAQUE(value) asm volatile("" : "+w"(value))
#endif

#define BMOPT_TARGET(features) __attribute__((target(features)))
#define BMOPT_BASELINE

// A loop for one instruction set, which `target` turns on. `Lanes` is the accumulators' vector
// type, `splat` fills a vector with an operand, `step(sums, left, right)` is one instruction, or
// what stands in for it, and does `products` products in all lanes together. The accumulators are
// of a vector extension's type and not of the intrinsics', whose casts make GCC keep them in
// memory. They start at a zero that the compiler does not know, for it would merge accumulators
// that are equal, and one operand is opaque, for it would move a product out of the loop.
#define BMOPT_LOOP(name, target, Lanes, Operand, chain_count, splat, step, products) \
  target Chain name(std::uint64_t rounds, Operand first, Operand second) {           \
    auto left = splat(first);                                                        \
    const auto right = splat(second);                                                \
    volatile Operand zero = 0;                                                       \
    Lanes chains[chain_count];                                                       \
    for (int k = 0; k < chain_count; ++k) {                                          \
      chains[k] = Lanes{} + zero;                                                    \
    }                                                                                \
    for (std::uint64_t round = 0; round < rounds; ++round) {                         \
      for (int k = 0; k < chain_count; ++k) {                                        \
        BMOPT_OPAQUE(left);                                                          \
        chains[k] = (Lanes)(step(chains[k], left, right));                           \
      }                                                                              \
    }                                                                                \
    double sum = 0.0;                                                                \
    for (int k = 0; k < chain_count; ++k) {                                          \
      for (std::size_t lane = 0; lane < sizeof(Lanes) / 4; ++lane) {                 \
        sum += chains[k][lane];                                                      \
      }                                                                              \
    }                                                                                \
    return {sum, rounds * chain_count * (products) * 2};                             \
  }

namespace bmopt {
namespace {

#if defined(__x86_64__)

// At least 4 cycles of latency x 2 ports accumulators are needed; AVX2 has 16 registers in all.
using Floats16 = float __attribute__((vector_size(64)));
using Floats8 = float __attribute__((vector_size(32)));
using Ints16 = std::int32_t __attribute__((vector_size(64)));
using Ints8 = std::int32_t __attribute__((vector_size(32)));

#define BMOPT_BYTES_512(value) _mm512_set1_epi8(static_cast<char>(value))
#define BMOPT_BYTES_256(value) _mm256_set1_epi8(static_cast<char>(value))
#define BMOPT_FMA_512(sums, factor, addend) _mm512_fmadd_ps((__m512)(sums), factor, addend)
#define BMOPT_FMA_256(sums, factor, addend) _mm256_fmadd_ps((__m256)(sums), factor, addend)
#define BMOPT_DOT_512(sums, left, right) _mm512_dpbusd_epi32((__m512i)(sums), left, right)
#define BMOPT_DOT_256(sums, left, right) _mm256_dpbusd_avx_epi32((__m256i)(sums), left, right)
// Without VNNI: pairs of products to int16, pairs of those to int32.
#define BMOPT_DOT_AVX2(sums, left, right) \
  _mm256_add_epi32((__m256i)(sums),       \
                   _mm256_madd_epi16(_mm256_maddubs_epi16(left, right), _mm256_set1_epi16(1)))

BMOPT_LOOP(float32_avx512, BMOPT_TARGET("avx512f"), Floats16, float, 16, _mm512_set1_ps,
           BMOPT_FMA_512, 16)
BMOPT_LOOP(float32_avx2, BMOPT_TARGET("avx2,fma"), Floats8, float, 12, _mm256_set1_ps,
           BMOPT_FMA_256, 8)
BMOPT_LOOP(int8_avx512_vnni, BMOPT_TARGET("avx512f,avx512vnni"), Ints16, int, 16, BMOPT_BYTES_512,
           BMOPT_DOT_512, 64)
BMOPT_LOOP(int8_avx2, BMOPT_TARGET("avx2"), Ints8, int, 12, BMOPT_BYTES_256, BMOPT_DOT_AVX2, 32)
#if defined(__clang__) ? __clang_major__ >= 12 : __GNUC__ >= 11
#define BMOPT_HAS_AVX_VNNI
BMOPT_LOOP(int8_avx_vnni, BMOPT_TARGET("avx2,avxvnni"), Ints8, int, 12, BMOPT_BYTES_256,
           BMOPT_DOT_256, 32)
#endif

#elif defined(__aarch64__)

using Floats4 = float __attribute__((vector_size(16)));
using Ints4 = std::int32_t __attribute__((vector_size(16)));

#define BMOPT_FMA_NEON(sums, factor, addend) vfmaq_f32(addend, (float32x4_t)(sums), factor)
#define BMOPT_BYTES_NEON(value) vdupq_n_s8(static_cast<std::int8_t>(value))
#define BMOPT_DOT_NEON(sums, left, right) vdotq_s32((int32x4_t)(sums), left, right)

BMOPT_LOOP(float32_neon, BMOPT_BASELINE, Floats4, float, 16, vdupq_n_f32, BMOPT_FMA_NEON, 4)
#if defined(__ARM_FEATURE_DOTPROD)
BMOPT_LOOP(int8_dotprod, BMOPT_BASELINE, Ints4, int, 16, BMOPT_BYTES_NEON, BMOPT_DOT_NEON, 16)
#endif

#endif

// What the compiler makes of it for the baseline instruction set.
constexpr int kPortableLanes = 32;

template <typename T>
struct PortableLanes {
  T lanes[kPortableLanes];

  PortableLanes() {
    volatile T zero = 0;
    for (T& lane : lanes) {
      lane = zero;
    }
  }

  Chain chain(std::uint64_t rounds) const {
    return {std::accumulate(lanes, lanes + kPortableLanes, 0.0), rounds * kPortableLanes * 2};
  }
};

[[maybe_unused]] Chain float32_portable(std::uint64_t rounds, float factor, float addend) {
  PortableLanes<float> sums;
  for (std::uint64_t round = 0; round < rounds; ++round) {
    for (float& lane : sums.lanes) {
      lane = lane * factor + addend;
    }
  }
  return sums.chain(rounds);
}

[[maybe_unused]] Chain int8_portable(std::uint64_t rounds, int first, int second) {
  PortableLanes<std::int32_t> sums;
  PortableLanes<std::int8_t> left;
  for (std::int8_t& lane : left.lanes) {
    lane = static_cast<std::int8_t>(lane + first);
  }
  for (std::uint64_t round = 0; round < rounds; ++round) {
    asm volatile("" : "+r"(second));
    for (int k = 0; k < kPortableLanes; ++k) {
      sums.lanes[k] += left.lanes[k] * static_cast<std::int8_t>(second);
    }
  }
  return sums.chain(rounds);
}

}  // namespace

Loop<float> float32_loop() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) {
    return {"avx512", float32_avx512};
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    return {"avx2", float32_avx2};
  }
#elif defined(__aarch64__)
  return {"neon", float32_neon};
#endif
  return {"portable", float32_portable};
}

Loop<int> int8_loop() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512vnni")) {
    return {"avx512-vnni", int8_avx512_vnni};
  }
#if defined(BMOPT_HAS_AVX_VNNI)
  if (__builtin_cpu_supports("avxvnni")) {
    return {"avx-vnni", int8_avx_vnni};
  }
#endif
  if (__builtin_cpu_supports("avx2")) {
    return {"avx2", int8_avx2};
  }
#elif defined(__ARM_FEATURE_DOTPROD)
  return {"dotprod", int8_dotprod};
#endif
  return {"portable", int8_portable};
}

BMOPT_MULTIVERSION
std::uint64_t sum_words(Span<const std::uint64_t> words) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < words.size; ++i) {
    sum += words.data[i];
  }
  return sum;
}

}  // namespace bmopt
