#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>

#include <cstdint>
#include <vector>

#include "kernels/observer.hpp"
#include "kernels/probe_bindings.hpp"
#include "kernels/ranges.hpp"
#include "kernels/timing.hpp"

namespace nb = nanobind;

namespace {

using bmopt::Choice;
using bmopt::Span;
using bmopt::TensorObserver;

using Floats = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

template <typename Array>
auto span_of(const Array& array) {
  return Span<std::remove_pointer_t<decltype(array.data())>>{array.data(), array.size()};
}

nb::tuple tuple_of(const Choice& choice) {
  return nb::make_tuple(choice.affine.low, choice.affine.high, choice.bound);
}

nb::dict ranges(const TensorObserver& observer, double percentile) {
  bmopt::Ranges chosen;
  {
    nb::gil_scoped_release released;
    chosen = bmopt::select_ranges(observer, percentile);
  }
  nb::dict result;
  result["minmax"] = tuple_of(chosen.minmax);
  result["moving-average"] = tuple_of(chosen.moving_average);
  result["percentile"] = tuple_of(chosen.percentile);
  result["entropy"] = tuple_of(chosen.entropy);
  result["mse"] = tuple_of(chosen.mse);
  return result;
}

nb::object counts(const TensorObserver& observer) {
  auto* copy = new std::vector<std::uint64_t>(observer.tally().histogram.counts());
  nb::capsule owner(copy,
                    [](void* p) noexcept { delete static_cast<std::vector<std::uint64_t>*>(p); });
  return nb::cast(
      nb::ndarray<nb::numpy, std::uint64_t, nb::ndim<1>>(copy->data(), {copy->size()}, owner));
}

using Nanoseconds = nb::ndarray<std::int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

// An injected clock: any callable that returns an integer.
std::int64_t read_clock(const nb::object& clock) {
  const nb::object now = nb::steal(PyObject_CallNoArgs(clock.ptr()));
  const long long ns = now.is_valid() ? PyLong_AsLongLong(now.ptr()) : -1;
  if (ns == -1 && PyErr_Occurred()) {
    nb::raise_python_error();
  }
  return ns;
}

std::size_t time_block(const nb::callable& run, const nb::tuple& feeds, std::size_t first,
                       std::size_t held, std::int64_t least_ns, std::size_t fewest,
                       const Nanoseconds& starts, const Nanoseconds& latencies,
                       const nb::object& clock) {
  if (feeds.size() == 0 || starts.size() != latencies.size()) {
    throw nb::value_error("time_block needs a feed, and two buffers of one size");
  }
  // Taken before the call that uses it, so that rotating costs no timed division.
  std::size_t next = first % feeds.size();
  const auto once = [&] {
    nb::object outputs = nb::steal(PyObject_CallOneArg(
        run.ptr(), PyTuple_GET_ITEM(feeds.ptr(), static_cast<Py_ssize_t>(next))));
    if (!outputs.is_valid()) {
      nb::raise_python_error();
    }
    return outputs;
  };
  const auto pause = [&] {
    next = next + 1 == feeds.size() ? 0 : next + 1;
    // An engine that is all C would keep Ctrl-C waiting until the block is over.
    if (PyErr_CheckSignals() != 0) {
      nb::raise_python_error();
    }
  };
  const bmopt::Samples samples{span_of(starts), span_of(latencies), held};
  if (clock.is_none()) {
    return bmopt::time_block(samples, least_ns, fewest, bmopt::monotonic_ns, once, pause);
  }
  return bmopt::time_block(
      samples, least_ns, fewest, [&] { return read_clock(clock); }, once, pause);
}

}  // namespace

NB_MODULE(_ext, m) {
  m.doc() =
      "Compiled kernels of bmopt: calibration's, which have NumPy twins, and the timed loop.";
  m.def("monotonic_ns", &bmopt::monotonic_ns,
        "Return nanoseconds of a clock that never goes back.");
  m.def(
      "time_block", &time_block, nb::arg("run"), nb::arg("feeds"), nb::arg("first"),
      nb::arg("held"), nb::arg("least_ns"), nb::arg("fewest"), nb::arg("starts").noconvert(),
      nb::arg("latencies").noconvert(), nb::arg("clock").none() = nb::none(),
      "Time run(feed) over a rotation of feeds into two int64 buffers that hold `held` samples\n"
      "already, until `least_ns` have gone by since the first sample and there are `fewest`, or\n"
      "the buffers are full; return how many samples they hold.");
  nb::class_<TensorObserver>(m, "TensorObserver", "What calibration remembers of one tensor.")
      .def(nb::init<>())
      .def(
          "update",
          [](TensorObserver& self, const Floats& values, unsigned threads) {
            nb::gil_scoped_release released;
            self.update(span_of(values), threads);
          },
          nb::arg("values"), nb::arg("threads") = 1, "Add float32 [n] values to the open group.")
      .def("close_group", &TensorObserver::close_group,
           "End the open group: one step of the moving average.")
      .def("merge", &TensorObserver::merge, nb::arg("later"), "Append what a later observer saw.")
      .def("ranges", &ranges, nb::arg("percentile"),
           "Return method -> (affine low, affine high, symmetric bound).")
      .def("counts", &counts, "Return a copy of the uint64 histogram of finite non-zero values.")
      .def_prop_ro("exponent",
                   [](const TensorObserver& self) { return self.tally().histogram.exponent(); })
      .def_prop_ro("finite", [](const TensorObserver& self) { return self.tally().finite; })
      .def_prop_ro("zeros", [](const TensorObserver& self) { return self.tally().zeros; })
      .def_prop_ro("infinities",
                   [](const TensorObserver& self) { return self.tally().infinities; })
      .def_prop_ro("nans", [](const TensorObserver& self) { return self.tally().nans; })
      .def_prop_ro("low", [](const TensorObserver& self) { return self.tally().low; })
      .def_prop_ro("high", [](const TensorObserver& self) { return self.tally().high; })
      .def_prop_ro("moving_average", &TensorObserver::moving_average);
  bmopt::bind_probe(m);
}
