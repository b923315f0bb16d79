#include "threads.h"

#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <system_error>
#include <thread>

namespace jaxgru {
namespace {

using Clock = std::chrono::steady_clock;

class Pool {
 public:
  void run(Job& job, int helpers) {
    {
      std::unique_lock<std::mutex> lock(mutex_);
      if (job_ != nullptr) {
        lock.unlock();
        return job.lead(0);
      }
      job_ = &job;
      places_ = helpers;
      try {
        for (; started_ < helpers; ++started_) std::thread([this] { help(); }).detach();
      } catch (const std::system_error&) {
        // No more threads are to be had: those that run will do.
      }
    }
    opened_.notify_all();
    job.lead(helpers);
    std::unique_lock<std::mutex> lock(mutex_);
    places_ = 0;
    left_.wait(lock, [&] { return inside_ == 0; });
    job_ = nullptr;
  }

 private:
  [[noreturn]] void help() {
    std::unique_lock<std::mutex> lock(mutex_);
    while (true) {
      opened_.wait(lock, [&] { return places_ > 0; });
      --places_;
      ++inside_;
      Job& job = *job_;
      lock.unlock();
      job.help();
      lock.lock();
      if (--inside_ == 0) left_.notify_one();
    }
  }

  std::mutex mutex_;
  std::condition_variable opened_, left_;
  Job* job_ = nullptr;
  int places_ = 0;   // in the job, for helpers
  int inside_ = 0;   // helpers that work on it
  int started_ = 0;  // helpers
};

std::atomic<Pool*> pool{nullptr};

// Never destroyed: its threads may still run while the process ends.
Pool& the_pool() {
  static std::once_flag once;
  std::call_once(once, [] {
    pool = new Pool;
    // The threads of the parent do not exist in the child, and its locks may be taken.
    pthread_atfork(nullptr, nullptr, [] { pool = new Pool; });
  });
  return *pool;
}

constexpr int64_t kShortestRest = 1'000'000, kLongestRest = 50'000'000;  // nanoseconds
std::atomic<int64_t> rest{kShortestRest}, rest_until{0};

int64_t now() { return std::chrono::nanoseconds(Clock::now().time_since_epoch()).count(); }

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

std::atomic<int> core_of_caller{-1};

void note_core_of_caller() {
#ifdef __linux__
  core_of_caller.store(sched_getcpu(), std::memory_order_relaxed);
#endif
}

#ifdef __linux__
cpu_set_t cores_of_process() {
  cpu_set_t cores;
  if (sched_getaffinity(getpid(), sizeof cores, &cores) != 0) CPU_ZERO(&cores);
  return cores;
}
#endif

int counted_threads() {
  int cores = static_cast<int>(std::thread::hardware_concurrency());
#ifdef __linux__
  const cpu_set_t set = cores_of_process();
  cores = std::max(1, CPU_COUNT(&set));
#endif
  if (const int granted = granted_cores()) cores = std::min(cores, granted);
  if (const char* given = std::getenv("JAXGRU_NUM_THREADS")) {
    if (const int threads = std::atoi(given); threads > 0) cores = std::min(cores, threads);
  }
  return std::clamp(cores, 1, Barrier::kMostMembers);
}

}  // namespace

int available_threads() {
  static const int threads = counted_threads();
  return threads;
}

void leave_core_of_caller() {
#ifdef __linux__
  const int core = sched_getcpu();
  if (core != core_of_caller.load(std::memory_order_relaxed)) return;
  cpu_set_t others = cores_of_process();
  CPU_CLR(core, &others);
  if (CPU_COUNT(&others) > 0) sched_setaffinity(0, sizeof others, &others);  // of this thread
#endif
}

void run_job(Job& job, int helpers) {
  if (helpers < 1) return job.lead(0);
  note_core_of_caller();
  the_pool().run(job, helpers);
}

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

void Barrier::wait(int member) {
  constexpr int spins = 500;
  std::atomic<int64_t>& own = meetings_[member].count;
  const int64_t meeting = own.load(std::memory_order_relaxed) + 1;
  own.store(meeting, std::memory_order_release);
  for (int i = 0, waited = 0; i < members_; ++i) {
    while (meetings_[i].count.load(std::memory_order_acquire) < meeting) {
      if (++waited < spins) {
        pause();
        continue;
      }
      // The member that is missing may need this very core.
      if (member == 0) {
        note_core_of_caller();
      } else {
        leave_core_of_caller();
      }
      sched_yield();
      yields_.fetch_add(1, std::memory_order_relaxed);
    }
  }
}

int Team::close(int wanted) {
  const auto patience = Clock::now() + std::chrono::microseconds(50);
  while (joined_.load(std::memory_order_acquire) < wanted && Clock::now() < patience) pause();
  return std::min(joined_.fetch_or(kClosed, std::memory_order_acq_rel), wanted) + 1;
}

int Team::join() {
  const int before = joined_.fetch_add(1, std::memory_order_acq_rel);
  return before < kClosed ? before + 1 : -1;
}

bool teams_rest() { return now() < rest_until.load(std::memory_order_relaxed); }

void note_meetings(bool late) {
  if (!late) {
    rest.store(kShortestRest, std::memory_order_relaxed);
    return;
  }
  const int64_t next = rest.load(std::memory_order_relaxed);
  rest_until.store(now() + next, std::memory_order_relaxed);
  rest.store(std::min(2 * next, kLongestRest), std::memory_order_relaxed);
}

}  // namespace jaxgru
