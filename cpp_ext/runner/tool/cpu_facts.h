#pragma once

#include "host_facts.h"

namespace bm {

// The facts whose names begin with "cpu.".
Facts cpu_facts();

}  // namespace bm
