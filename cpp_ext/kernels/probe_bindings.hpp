#pragma once

#include <nanobind/nanobind.h>

namespace bmopt {

// Adds the probe's functions to the module.
void bind_probe(nanobind::module_& m);

}  // namespace bmopt
