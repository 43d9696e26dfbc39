#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>

#include <vector>

#include "kernels/observer.hpp"
#include "kernels/ranges.hpp"

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

}  // namespace

NB_MODULE(_ext, m) {
  m.doc() = "Compiled kernels of bmopt; each has a NumPy twin in the package that uses it.";
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
}
