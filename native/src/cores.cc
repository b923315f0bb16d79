#include "cores.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <thread>

namespace jaxgru {
namespace {

#ifdef __linux__
cpu_set_t cores_of_process() {
  cpu_set_t cores;
  if (sched_getaffinity(getpid(), sizeof cores, &cores) != 0) CPU_ZERO(&cores);
  return cores;
}
#endif

// The cores that a control group of version 2 or 1 grants, or 0 without a limit.
int granted_cores() {
  double quota = 0, period = 0;
  if (std::FILE* file = std::fopen("/sys/fs/cgroup/cpu.max", "r")) {
    if (std::fscanf(file, "%lf %lf", &quota, &period) != 2) period = 0;
    std::fclose(file);
  } else {
    const auto number = [](const char* path, double& value) {
      std::FILE* file = std::fopen(path, "r");
      if (file == nullptr) return;
      if (std::fscanf(file, "%lf", &value) != 1) value = 0;
      std::fclose(file);
    };
    number("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", quota);
    number("/sys/fs/cgroup/cpu/cpu.cfs_period_us", period);
  }
  return quota > 0 && period > 0 ? std::max(1, static_cast<int>(quota / period + 0.5)) : 0;
}

int counted_cores() {
  int cores = static_cast<int>(std::thread::hardware_concurrency());
#ifdef __linux__
  const cpu_set_t set = cores_of_process();
  cores = CPU_COUNT(&set);
#endif
  if (const int granted = granted_cores()) cores = std::min(cores, granted);
  if (const char* given = std::getenv("JAXGRU_NUM_THREADS")) {
    char* end = nullptr;
    const long threads = std::strtol(given, &end, 10);
    if (*end == 0 && threads > 0) cores = static_cast<int>(std::min<long>(cores, threads));
  }
  return std::max(cores, 1);
}

}  // namespace

int available_cores() {
  static const int cores = counted_cores();
  return cores;
}

#ifdef __linux__
int present_core() { return sched_getcpu(); }

void keep_off(int core, pthread_t thread) {
  cpu_set_t others = cores_of_process();
  if (core >= 0) CPU_CLR(core, &others);
  if (CPU_COUNT(&others) > 0) pthread_setaffinity_np(thread, sizeof others, &others);
}
#else
int present_core() { return -1; }

void keep_off(int, pthread_t) {}
#endif

}  // namespace jaxgru
