#include "tvm_threads.h"

#include <sched.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <set>

namespace bm::tvm {
namespace {

constexpr std::int64_t kShareAllCores = -3;  // TVM's ThreadGroup::kSpecifyThreadShareAllCore.

std::vector<std::string> own_processors() {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  std::vector<std::string> found;
  if (::sched_getaffinity(0, sizeof mask, &mask) != 0) return found;
  for (int i = 0; i < CPU_SETSIZE; ++i)
    if (CPU_ISSET(i, &mask)) found.push_back(std::to_string(i));
  return found;
}

// "0-1" or "0,4": a core's processors; the processor itself where the system does not tell.
std::string core_of(const std::string& processor) {
  const std::string path =
      "/sys/devices/system/cpu/cpu" + processor + "/topology/thread_siblings_list";
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "r"),
                                                             std::fclose);
  char line[64];
  const bool is_told = file != nullptr && std::fgets(line, sizeof line, file.get()) != nullptr;
  return is_told ? line : processor;
}

int cores(const std::vector<std::string>& processors) {
  std::set<std::string> found;
  for (const std::string& processor : processors) found.insert(core_of(processor));
  return static_cast<int>(found.size());
}

Value texts(const Library& library, const std::vector<std::string>& processors) {
  std::vector<TVMFFIAny> arguments;
  for (const std::string& processor : processors) arguments.push_back(argument(processor.c_str()));
  return call(library, global_function(library, "ffi.Array"), arguments.data(), arguments.size(),
              BM_HOST, "threads");
}

// TVM makes a pool for each thread that runs models, as large as the list of processors that it is
// told first. It would bind each of the pool to one, whether this process may use it or not.
void share(const Library& library, int count, std::vector<std::string> processors) {
  const std::size_t own = processors.size();
  for (std::size_t i = own; i < static_cast<std::size_t>(count); ++i)
    processors.push_back(processors[i % own]);
  const Value shared = texts(library, processors);
  call(library, global_function(library, "runtime.config_threadpool"),
       {argument(kShareAllCores), argument(std::int64_t{count}), shared.any()}, BM_HOST,
       "threads");
}

void configure(const Library& library, int count) {
  std::vector<std::string> processors = own_processors();
  if (processors.empty()) return;  // The system does not tell: TVM decides.
  if (count <= 0) count = cores(processors);
  if (count == 1 && library.set_max_threads != nullptr)
    library.set_max_threads(1);  // No pool at all.
  else
    share(library, count, std::move(processors));
}

}  // namespace

void use_threads(const Library& library, int count) {
  thread_local int used = -1;
  if (used == count) return;
  configure(library, count);
  used = count;
}

}  // namespace bm::tvm
