#include "kernels/probe_bindings.hpp"

#include <nanobind/ndarray.h>

#include <cstdint>
#include <stdexcept>

#include "kernels/probe.hpp"
#include "kernels/probe_loops.hpp"

namespace nb = nanobind;

namespace {

using bmopt::Effort;

using Words = nb::ndarray<const std::uint64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

Effort effort_of(double milliseconds, unsigned repetitions, unsigned threads) {
  if (!(milliseconds > 0.0) || repetitions == 0 || threads == 0) {
    throw std::invalid_argument("milliseconds, repetitions and threads must be above 0");
  }
  return {milliseconds, repetitions, threads};
}

template <typename Operand>
nb::tuple tuple_of(const bmopt::Loop<Operand>& loop, std::uint64_t rounds, Operand first,
                   Operand second) {
  const bmopt::Chain chain = loop.run(rounds, first, second);
  return nb::make_tuple(loop.isa, chain.sum, chain.operations);
}

void bind_rates(nb::module_& m) {
  m.def(
      "float32_rate",
      [](double milliseconds, unsigned repetitions, unsigned threads) {
        const Effort effort = effort_of(milliseconds, repetitions, threads);
        nb::gil_scoped_release released;
        return bmopt::float32_rate(effort);
      },
      nb::arg("milliseconds"), nb::arg("repetitions"), nb::arg("threads"),
      "Return float32 operations per second; a multiply-add counts as two.");
  m.def(
      "int8_rate",
      [](double milliseconds, unsigned repetitions, unsigned threads) {
        const Effort effort = effort_of(milliseconds, repetitions, threads);
        nb::gil_scoped_release released;
        return bmopt::int8_rate(effort);
      },
      nb::arg("milliseconds"), nb::arg("repetitions"), nb::arg("threads"),
      "Return 8-bit operations per second; a multiply-add counts as two.");
  m.def(
      "read_rate",
      [](std::size_t bytes, double milliseconds, unsigned repetitions, unsigned threads) {
        const Effort effort = effort_of(milliseconds, repetitions, threads);
        nb::gil_scoped_release released;
        return bmopt::read_rate(bytes, effort);
      },
      nb::arg("bytes"), nb::arg("milliseconds"), nb::arg("repetitions"), nb::arg("threads"),
      "Return bytes per second, reading a buffer of that size.");
  m.def(
      "copy_rate",
      [](std::size_t bytes, double milliseconds, unsigned repetitions, unsigned threads) {
        const Effort effort = effort_of(milliseconds, repetitions, threads);
        nb::gil_scoped_release released;
        return bmopt::copy_rate(bytes, effort);
      },
      nb::arg("bytes"), nb::arg("milliseconds"), nb::arg("repetitions"), nb::arg("threads"),
      "Return bytes read and written per second, copying one half of a buffer to the other.");
}

}  // namespace

void bmopt::bind_probe(nb::module_& m) {
  bind_rates(m);
  m.def(
      "float32_loop",
      [](std::uint64_t rounds, float factor, float addend) {
        return tuple_of(bmopt::float32_loop(), rounds, factor, addend);
      },
      nb::arg("rounds"), nb::arg("factor"), nb::arg("addend"),
      "Return instruction set, sum of all accumulators and operations of the probe's loop.");
  m.def(
      "int8_loop",
      [](std::uint64_t rounds, int first, int second) {
        return tuple_of(bmopt::int8_loop(), rounds, first, second);
      },
      nb::arg("rounds"), nb::arg("first"), nb::arg("second"),
      "Return instruction set, sum of all accumulators and operations of the probe's loop.");
  m.def(
      "sum_words",
      [](const Words& words) { return bmopt::sum_words({words.data(), words.size()}); },
      nb::arg("words"), "Return the sum of uint64 [n] words modulo 2**64.");
}
