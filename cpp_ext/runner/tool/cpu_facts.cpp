#include "cpu_facts.h"

#include <sched.h>
#include <sys/utsname.h>

#include <algorithm>
#include <set>

#include "json.h"
#include "json_text.h"
#include "proc_text.h"

namespace bm {
namespace {

using Cpu = std::map<std::string, std::string>;

constexpr char kFrequency[] = "/sys/devices/system/cpu/cpu0/cpufreq/";

// As in bmopt.core.cpuinfo: instruction sets that decide how INT8 kernels run, Arm's vendors and
// the part numbers of its own cores.
const std::vector<std::string>& isa_flags() {
  static const std::vector<std::string> flags = {"sse4_1",      "avx2",     "avx512f",  "avx512bw",
                                                 "avx512_vnni", "avx_vnni", "amx_int8", "asimd",
                                                 "asimddp",     "i8mm",     "sve"};
  return flags;
}

const std::map<std::string, std::string>& arm_vendors() {
  static const std::map<std::string, std::string> vendors = {
      {"0x41", "ARM"}, {"0x4e", "NVIDIA"}, {"0x51", "Qualcomm"}, {"0x61", "Apple"}};
  return vendors;
}

const std::map<std::string, std::string>& arm_parts() {
  static const std::map<std::string, std::string> parts = {
      {"0xd03", "Cortex-A53"},  {"0xd04", "Cortex-A35"},  {"0xd05", "Cortex-A55"},
      {"0xd07", "Cortex-A57"},  {"0xd08", "Cortex-A72"},  {"0xd09", "Cortex-A73"},
      {"0xd0a", "Cortex-A75"},  {"0xd0b", "Cortex-A76"},  {"0xd0c", "Neoverse-N1"},
      {"0xd40", "Neoverse-V1"}, {"0xd41", "Cortex-A78"},  {"0xd42", "Cortex-A78AE"},
      {"0xd44", "Cortex-X1"},   {"0xd46", "Cortex-A510"}, {"0xd47", "Cortex-A710"},
      {"0xd49", "Neoverse-N2"}, {"0xd4f", "Neoverse-V2"}};
  return parts;
}

std::string field(const Cpu& cpu, const std::string& name) {
  const auto found = cpu.find(name);
  return found == cpu.end() ? "" : found->second;
}

std::string named(const std::map<std::string, std::string>& names, const std::string& code,
                  const std::string& otherwise) {
  const auto found = names.find(code);
  return found == names.end() ? otherwise : found->second;
}

std::string vendor(const std::vector<Cpu>& cpus) {
  const Cpu first = cpus.empty() ? Cpu{} : cpus.front();
  const std::string code = field(first, "CPU implementer");
  const std::string own = field(first, "vendor_id");
  return own.empty() ? named(arm_vendors(), code, code) : own;
}

std::string core_name(const Cpu& cpu) {
  const std::string part = field(cpu, "CPU part");
  const std::string plain = part.empty() ? "" : "part " + part;
  if (!part.empty() && field(cpu, "CPU implementer") == "0x41") {
    return named(arm_parts(), part, plain);
  }
  const std::string name = field(cpu, "model name");
  return name.empty() ? plain : name;
}

std::string model(const std::vector<Cpu>& cpus) {
  std::string names;
  std::set<std::string> known = {""};
  for (const Cpu& cpu : cpus) {
    const std::string name = core_name(cpu);
    if (known.insert(name).second) {
      names += (names.empty() ? "" : " + ") + name;
    }
  }
  return names;
}

bool has_flag(const Cpu& cpu, const std::string& flag) {
  const std::string x86 = field(cpu, "flags");
  const auto words = pieces_of(x86.empty() ? field(cpu, "Features") : x86, " ");
  return std::find(words.begin(), words.end(), flag) != words.end();
}

std::string flags(const std::vector<Cpu>& cpus) {
  std::string common;
  for (const std::string& flag : isa_flags()) {
    bool is_common = !cpus.empty();
    for (const Cpu& cpu : cpus) {
      is_common = is_common && has_flag(cpu, flag);
    }
    common += is_common ? (common.empty() ? "" : " ") + flag : "";
  }
  return common;
}

double physical_cores(std::size_t logical) {
  std::set<std::string> siblings;
  for (std::size_t i = 0; i < logical; ++i) {
    siblings.insert(proc_text("/sys/devices/system/cpu/cpu" + std::to_string(i) +
                              "/topology/thread_siblings_list"));
  }
  siblings.erase("");
  return siblings.empty() ? -1 : static_cast<double>(siblings.size());
}

double affinity() {
  cpu_set_t set;
  CPU_ZERO(&set);
  return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : -1;
}

// CPUs' worth of time that a container may use; -1 without a limit.
double quota() {
  const auto words = pieces_of(proc_text("/sys/fs/cgroup/cpu.max"), " ");
  const double budget = words.size() == 2 ? leading_number(words[0]) : -1;
  const double period = words.size() == 2 ? leading_number(words[1]) : -1;
  return budget >= 0 && period > 0 ? budget / period : -1;
}

std::string text_or_unknown(const std::string& text) {
  return json_quoted(text.empty() ? "unknown" : text);
}

std::string number_or_null(double number) {
  return number < 0 ? "null" : json_number(number);
}

}  // namespace

Facts cpu_facts() {
  const std::vector<Cpu> cpus = proc_cpus();
  const double highest_khz =
      leading_number(proc_text(std::string(kFrequency) + "cpuinfo_max_freq"));
  utsname kernel{};
  uname(&kernel);
  const double logical = cpus.empty() ? -1 : static_cast<double>(cpus.size());
  return {
      {"cpu.vendor", text_or_unknown(vendor(cpus))},
      {"cpu.model", text_or_unknown(model(cpus))},
      {"cpu.architecture", text_or_unknown(kernel.machine)},
      {"cpu.flags", json_quoted(flags(cpus))},
      {"cpu.physical_cores", number_or_null(physical_cores(cpus.size()))},
      {"cpu.logical_cores", number_or_null(logical)},
      {"cpu.affinity", number_or_null(affinity())},
      {"cpu.quota", number_or_null(quota())},
      {"cpu.governor", text_or_unknown(proc_text(std::string(kFrequency) + "scaling_governor"))},
      {"cpu.max_frequency_mhz", number_or_null(highest_khz < 0 ? -1 : highest_khz / 1e3)}};
}

}  // namespace bm
