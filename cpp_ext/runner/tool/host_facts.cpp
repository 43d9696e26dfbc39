#include "host_facts.h"

#include <sched.h>
#include <sys/utsname.h>

#include "cpu_facts.h"
#include "json.h"
#include "json_text.h"
#include "proc_text.h"

namespace bm {
namespace {

// Columns of the first line of /proc/stat (proc(5)) up to steal; those after it are part of the
// first ones.
constexpr std::size_t kColumns = 8;
constexpr std::size_t kSteal = 7;

void read_ticks(HostLoad* load) {
  const auto lines = pieces_of(proc_text("/proc/stat"), "\n");
  const auto words = pieces_of(lines.empty() ? "" : lines.front(), " ");
  if (words.size() <= kColumns || words[0] != "cpu") {
    return;
  }
  load->total_ticks = 0;
  for (std::size_t i = 1; i <= kColumns; ++i) {
    load->total_ticks += leading_number(words[i]);
  }
  load->steal_ticks = leading_number(words[kSteal + 1]);
}

double frequency_mhz() {
  const int cpu = sched_getcpu();
  const std::string path = "/sys/devices/system/cpu/cpu" + std::to_string(cpu < 0 ? 0 : cpu) +
                           "/cpufreq/scaling_cur_freq";
  const double khz = leading_number(proc_text(path));
  if (khz >= 0) {
    return khz / 1e3;
  }
  for (const auto& fields : proc_cpus()) {
    const auto found = fields.find("cpu MHz");
    if (found != fields.end() && fields.at("processor") == std::to_string(cpu)) {
      return leading_number(found->second);
    }
  }
  return -1;
}

double status_bytes(const std::string& path, const std::string& name) {
  const auto fields = proc_fields(proc_text(path));
  const auto found = fields.find(name);
  const double kibibytes = found == fields.end() ? -1 : leading_number(found->second);
  return kibibytes < 0 ? -1 : kibibytes * 1024;
}

std::string distribution() {
  const auto fields = proc_fields(proc_text("/etc/os-release"), '=');
  const auto found = fields.find("PRETTY_NAME");
  if (found == fields.end()) {
    return "Linux";
  }
  const std::string& name = found->second;
  const bool is_quoted = name.size() > 1 && name.front() == '"' && name.back() == '"';
  return is_quoted ? name.substr(1, name.size() - 2) : name;
}

std::string number_or_null(double number) {
  return number < 0 ? "null" : json_number(number);
}

double grown(double before, double after) {
  return before < 0 || after < before ? -1 : after - before;
}

}  // namespace

Facts host_facts() {
  Facts facts = cpu_facts();
  utsname kernel{};
  uname(&kernel);
  facts.emplace_back("memory.bytes", number_or_null(status_bytes("/proc/meminfo", "MemTotal")));
  facts.emplace_back("os", json_quoted(distribution()));
  facts.emplace_back("kernel", json_quoted(kernel.release));
  return facts;
}

HostLoad host_load() {
  HostLoad load;
  load.average = leading_number(proc_text("/proc/loadavg"));
  load.frequency_mhz = frequency_mhz();
  read_ticks(&load);
  return load;
}

Facts block_readings(const HostLoad& before, const HostLoad& after) {
  Facts readings;
  const auto add = [&](const char* name, double value) {
    if (value >= 0) {
      readings.emplace_back(name, json_number(value));
    }
  };
  add("cpu.frequency_mhz", after.frequency_mhz);
  add("cpu.steal_ticks", grown(before.steal_ticks, after.steal_ticks));
  add("cpu.total_ticks", grown(before.total_ticks, after.total_ticks));
  add("load.average", after.average);
  return readings;
}

Facts load_facts(const HostLoad& before, const HostLoad& after) {
  const double stolen = grown(before.steal_ticks, after.steal_ticks);
  const double total = grown(before.total_ticks, after.total_ticks);
  const double percent = stolen < 0 || total <= 0 ? -1 : 100 * stolen / total;
  return {{"load.average_before", number_or_null(before.average)},
          {"load.average_after", number_or_null(after.average)},
          {"load.steal_percent", number_or_null(percent)},
          {"cpu.frequency_mhz_before", number_or_null(before.frequency_mhz)},
          {"cpu.frequency_mhz_after", number_or_null(after.frequency_mhz)}};
}

double peak_memory_bytes() {
  return status_bytes("/proc/self/status", "VmHWM");
}

}  // namespace bm
