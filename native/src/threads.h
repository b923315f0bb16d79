// Threads that help the caller of a kernel.
//
// The caller never depends on a helper that has not joined: it opens a job, leads it, closes it,
// and waits for the helpers that are inside. One job runs at a time; a second caller works alone.
// Helpers sleep between jobs and start with the first job that wants them, anew in a child process
// after a fork. They are never joined: they end with the process.
#pragma once

#include <atomic>
#include <cstdint>

namespace jaxgru {

// The most threads that a job gets, its caller included.
int available_threads();

class Job {
 public:
  // The work of the caller; at most this many helpers come.
  virtual void lead(int helpers) = 0;
  // The work of each helper, whenever it comes.
  virtual void help() = 0;

 protected:
  ~Job() = default;
};

// Returns when the caller and all helpers that came have left the job.
void run_job(Job& job, int helpers);

// Hints to the core that this thread waits for another.
void pause();

// A point that all members of a team pass together, again and again.
class Barrier {
 public:
  static constexpr int kMostMembers = 64;

  void set_members(int members) { members_ = members; }
  void wait(int member);
  // The nanoseconds that all members have waited, but for waits of a few microseconds.
  int64_t waited() const { return waited_.load(std::memory_order_relaxed); }

 private:
  // On a line of the cache for each member: a meeting then costs one transfer of a line.
  struct alignas(64) Meetings {
    std::atomic<int64_t> count{0};
  };

  int members_ = 1;
  std::atomic<int64_t> waited_{0};
  Meetings meetings_[kMostMembers];
};

// The members of a team: those who joined before it was closed.
class Team {
 public:
  // The caller waits until `wanted` others have joined, for some nanoseconds at most, and closes
  // the team. Returns the number of members; the caller is number 0.
  int close(int wanted, int64_t patience);
  // Returns the number of the member, or -1 if the team is closed.
  int join();

 private:
  static constexpr int kClosed = 1 << 16;
  std::atomic<int> joined_{0};
};

// The run of a team. Where other processes keep the cores busy, threads that meet at every step are
// slower than one: so after a run of which much was spent waiting no team forms for 1 ms, and each
// time for twice as long, up to 50 ms.
class Teamwork {
 public:
  Teamwork();
  static bool is_backing_off();
  void end(const Barrier& barrier) const;

 private:
  int64_t begin_;
};

}  // namespace jaxgru
