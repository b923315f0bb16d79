#include "threads.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "cores.h"

namespace jaxgru {
namespace {

// The number of polls, about 10 us, before a thread yields to others.
constexpr int kSpins = 500;

int64_t now() {
  return std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count();
}

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
      start(helpers);
      keep_helpers_off(present_core());
    }
    opened_.notify_all();
    job.lead(helpers);
    // The others are about to be done as well: sleeping would take longer.
    for (int i = 0; i < kSpins && inside_.load(std::memory_order_acquire) > 0; ++i) pause();
    std::unique_lock<std::mutex> lock(mutex_);
    places_ = 0;
    left_.wait(lock, [&] { return inside_ == 0; });
    job_ = nullptr;
  }

 private:
  void start(int helpers) {
    try {
      while (static_cast<int>(helpers_.size()) < helpers) {
        std::thread thread([this] { help(); });
        helpers_.push_back(thread.native_handle());
        thread.detach();
        avoided_core_ = -1;
      }
    } catch (const std::system_error&) {
      // No more threads are available: the running ones are enough.
    }
  }

  // Woken on the core of the caller, a helper would wait there until the caller is done.
  void keep_helpers_off(int core) {
    if (core == avoided_core_) return;
    avoided_core_ = core;
    for (const pthread_t helper : helpers_) keep_off(core, helper);
  }

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
  int places_ = 0;              // in the job, for helpers
  std::atomic<int> inside_{0};  // helpers that work on it
  std::vector<pthread_t> helpers_;
  int avoided_core_ = -1;  // by all helpers
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

}  // namespace

int available_threads() { return std::min(available_cores(), Barrier::kMostMembers); }

void run_job(Job& job, int helpers) {
  if (helpers < 1) return job.lead(0);
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
  std::atomic<int64_t>& own = meetings_[member].count;
  const int64_t meeting = own.load(std::memory_order_relaxed) + 1;
  own.store(meeting, std::memory_order_release);
  int64_t since = 0;
  for (int i = 0, waited = 0; i < members_; ++i) {
    while (meetings_[i].count.load(std::memory_order_acquire) < meeting) {
      if (++waited < kSpins) {
        pause();
        continue;
      }
      // The member that is missing may need this very core.
      if (since == 0) since = now();
      sched_yield();
    }
  }
  if (since != 0) waited_.fetch_add(now() - since, std::memory_order_relaxed);
}

int Team::close(int wanted, int64_t patience) {
  for (const int64_t until = now() + patience;
       joined_.load(std::memory_order_acquire) < wanted && now() < until;) {
    pause();
  }
  return std::min(joined_.fetch_or(kClosed, std::memory_order_acq_rel), wanted) + 1;
}

int Team::join() {
  const int before = joined_.fetch_add(1, std::memory_order_acq_rel);
  return before < kClosed ? before + 1 : -1;
}

Teamwork::Teamwork() : begin_(now()) {}

bool Teamwork::is_backing_off() { return now() < rest_until.load(std::memory_order_relaxed); }

void Teamwork::end(const Barrier& barrier) const {
  // Of a thread in four, or more.
  if (barrier.waited() < (now() - begin_) / 4) {
    rest.store(kShortestRest, std::memory_order_relaxed);
    return;
  }
  const int64_t next = rest.load(std::memory_order_relaxed);
  rest_until.store(now() + next, std::memory_order_relaxed);
  rest.store(std::min(2 * next, kLongestRest), std::memory_order_relaxed);
}

}  // namespace jaxgru
