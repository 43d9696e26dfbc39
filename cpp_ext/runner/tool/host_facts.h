#pragma once

#include <string>
#include <utility>
#include <vector>

namespace bm {

// Names of bmopt.bench.environment.describe with JSON values; null for what the host does not
// tell.
using Facts = std::vector<std::pair<std::string, std::string>>;

// What stays the same during a measurement.
Facts host_facts();

// How busy the host is; negative is what it does not tell.
struct HostLoad {
  double average = -1;        // Runnable tasks over the last minute.
  double steal_ticks = -1;    // Time that other guests of the machine took, since boot.
  double total_ticks = -1;    // All CPU time since boot.
  double frequency_mhz = -1;  // Of the CPU that this thread runs on.
};
HostLoad host_load();

// What two readings around a block say of it, and around a measurement.
Facts block_readings(const HostLoad& before, const HostLoad& after);
Facts load_facts(const HostLoad& before, const HostLoad& after);

// The most memory that this process had resident, in bytes; negative where it is not told.
double peak_memory_bytes();

}  // namespace bm
