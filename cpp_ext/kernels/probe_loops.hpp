#pragma once

#include <cstdint>

#include "kernels/span.hpp"

namespace bmopt {

// What a loop computed and in how many arithmetic operations; a multiply-add counts as two. Both
// follow from the rounds, so that a test can see that nothing was optimised away.
struct Chain {
  double sum;
  std::uint64_t operations;
};

// A loop for one instruction set; the name says which.
template <typename Operand>
struct Loop {
  const char* isa;
  Chain (*run)(std::uint64_t rounds, Operand first, Operand second);
};

// Every accumulator starts at 0 and becomes accumulator * first + second in every round. Fused
// multiply-adds of the widest vectors that this CPU has.
Loop<float> float32_loop();

// Every int32 accumulator starts at 0 and grows in every round by products of the bytes `first`,
// unsigned, and `second`, signed. The widest dot-product instruction that this CPU has (VNNI, or
// ARM's), else the instructions that stand in for it.
Loop<int> int8_loop();

// Sum modulo 2^64, a read of every word.
std::uint64_t sum_words(Span<const std::uint64_t> words);

}  // namespace bmopt
