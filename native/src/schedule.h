// The distribution of a loop among threads.
//
// A batch is cut into slabs of rows, and a slab runs through all steps without any exchange: idle
// threads claim the next slab. A single sequence is cut by units: the members of a team synchronize
// after each product. With either, every number is computed in the same way.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "product.h"
#include "scratch.h"
#include "threads.h"

namespace jaxgru {
namespace {

// The barrier of the members of a team; none for a loop of one thread.
struct TeamBarrier {
  Barrier* barrier = nullptr;
  int member = 0;

  void wait() const {
    if (barrier != nullptr) barrier->wait(member);
  }
};

// Multiplications below which another thread is not worth waking, and below which, for each step,
// it is not worth waiting for (measured).
constexpr int64_t kWakes = 1 << 21;
constexpr int64_t kMinToSync = 1 << 13;
// Nanoseconds that a helper is waited for at least, as it may take these to wake one, and
// multiplications of one thread in a nanosecond.
constexpr int64_t kPatience = 50'000, kSpeed = 30;
constexpr int64_t kSlab = 32;        // rows: they share each part of a matrix that is read
constexpr int64_t kCache = 1 << 20;  // bytes

template <class Loop>
class Schedule final : public Job {
 public:
  using Problem = typename Loop::Problem;
  using T = typename Loop::Number;

  explicit Schedule(const Problem& problem) : p_(problem), panels_(panels_of<T>(p_.sizes.units)) {
    threads_ = multiplications() < kWakes ? 1 : available_threads();
    by_units_ = threads_ > 1 && p_.sizes.rows < kRows / 2 * threads_;
    if (by_units_) {
      const int64_t step = multiplications() / p_.sizes.steps;
      const int64_t most = step < kMinToSync || Teamwork::is_backing_off() ? 1 : panels_;
      threads_ = static_cast<int>(std::min<int64_t>(threads_, most));
      return;
    }
    // As many slabs as threads, or a multiple. More of them where the matrices lie in a core's own
    // cache: a thread that has a core for half of the time then takes fewer.
    const bool cached = Loop::packed_size(p_) * static_cast<int64_t>(sizeof(T)) <= kCache;
    const int64_t rounds = parts_of(p_.sizes.rows, kSlab * threads_);
    const int64_t wanted = rounds * threads_ * (cached && threads_ > 1 ? 2 : 1);
    slabs_ = std::min(wanted, parts_of(p_.sizes.rows, kRows));
  }

  void run() {
    const int64_t slab = Division(p_.sizes.rows, slabs_).most();
    const int64_t packed = aligned(Loop::packed_size(p_));
    memory_size_ = aligned(Loop::memory_size(p_, slab));
    const Scratch scratch(packed + (by_units_ ? 1 : threads_) * memory_size_, sizeof(T));
    memory_ = static_cast<T*>(scratch.data()) + packed;
    loop_ = Loop(p_, slab, static_cast<T*>(scratch.data()));
    run_job(*this, threads_ - 1);
  }

  void lead(int helpers) override {
    if (!by_units_) {
      loop_.pack({0, panels_});
      ready_.store(true, std::memory_order_release);
      return work(0);
    }
    members_ = team_.close(helpers, patience());
    barrier_.set_members(members_);
    const Teamwork teamwork;
    ready_.store(true, std::memory_order_release);
    work(0);
    if (members_ > 1) teamwork.end(barrier_);
  }

  void help() override {
    const int number = team_.join();
    if (number < 0) return;
    while (!ready_.load(std::memory_order_acquire)) pause();
    work(number);
  }

 private:
  int64_t multiplications() const { return p_.sizes.steps * p_.sizes.rows * Loop::work(p_); }

  // A helper may save half of the run: a tenth of it is worth waiting for.
  int64_t patience() const { return std::max(kPatience, multiplications() / kSpeed / 10); }

  // Whole lines of the cache, of which no two threads write the same.
  static int64_t aligned(int64_t numbers) { return (numbers + 63) / 64 * 64; }

  void work(int number) {
    if (by_units_) {
      const TeamBarrier together{members_ > 1 ? &barrier_ : nullptr, number};
      // The panels of one member are read by no other.
      const Range panels = Division(panels_, members_)[number];
      Loop own = loop_;
      own.pack(panels);
      own.run({0, p_.sizes.rows}, panels, memory_, together);
      return;
    }
    int64_t slab;
    while ((slab = next_.fetch_add(1, std::memory_order_relaxed)) < slabs_) {
      T* memory = memory_ + number * memory_size_;
      loop_.run(Division(p_.sizes.rows, slabs_)[slab], {0, panels_}, memory, {});
    }
  }

  const Problem& p_;
  const int64_t panels_;
  int threads_ = 1;
  bool by_units_ = false;
  int64_t slabs_ = 1;
  int64_t memory_size_ = 0;
  T* memory_ = nullptr;
  Loop loop_{};
  Team team_;
  Barrier barrier_;
  int members_ = 1;
  std::atomic<bool> ready_{false};
  std::atomic<int64_t> next_{0};
};

template <class Loop>
void run_loop(const typename Loop::Problem& problem) {
  const Sizes& sizes = problem.sizes;
  if (sizes.rows == 0 || sizes.units == 0 || sizes.steps == 0) return;
  Schedule<Loop>(problem).run();
}

}  // namespace
}  // namespace jaxgru
