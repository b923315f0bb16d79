// Threads that help the caller of a kernel.
//
// The caller never depends on a helper that has not come: it opens a job, leads it, closes it, and
// waits for the helpers that are inside. One job runs at a time; a second caller works alone.
// Helpers sleep between jobs and start with the first job that wants them, anew in a child process
// after a fork. They are never joined: they end with the process.
#pragma once

#include <atomic>
#include <cstdint>

namespace jaxgru {

// Cores that the process may use: its affinity and the quota of its control group, or fewer if
// JAXGRU_NUM_THREADS is set.
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

// Moves the calling helper off the core of the caller of the job, where it would only take turns
// with it: a scheduler that knows no better wakes it there.
void leave_core_of_caller();

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
  // Whether somebody waited so often or so long that a member cannot have had a core of its own.
  bool was_late() const { return yields_.load(std::memory_order_relaxed) > 50; }

 private:
  // On a line of the cache for each member: a meeting then costs one transfer of a line.
  struct alignas(64) Meetings {
    std::atomic<int64_t> count{0};
  };

  int members_ = 1;
  std::atomic<int> yields_{0};
  Meetings meetings_[kMostMembers];
};

// The members of a team: those who joined before it was closed.
class Team {
 public:
  // The caller waits until `wanted` others have joined, but no longer than it takes to wake a
  // thread, and closes the team. Returns the number of members; the caller is number 0.
  int close(int wanted);
  // Returns the number of the member, or -1 if the team is closed.
  int join();

 private:
  static constexpr int kClosed = 1 << 16;
  std::atomic<int> joined_{0};
};

// Where other processes keep the cores busy, threads that meet at every step are slower than one.
// So after a late meeting no team forms for 1 ms, and each time for twice as long, up to 50 ms.
bool teams_rest();
void note_meetings(bool late);

}  // namespace jaxgru
