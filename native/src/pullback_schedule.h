// The distribution of a pullback among threads.
//
// A batch is cut into slabs of rows, and each thread takes the next one. A single slab is cut
// otherwise: the caller runs the recurrence and fills a ring of blocks, and idle threads compute
// the products of these blocks, some panels of the results at a time. The cuts depend on sizes
// alone.
#pragma once

#include <sched.h>

#include <cstring>

#include "pages.h"
#include "pullback.h"
#include "schedule.h"

namespace jaxgru {
namespace {

// Lines of a block: so many that sums stay in registers for long, in a core's own cache.
constexpr int64_t kBlockBytes = 1 << 18, kFewestLines = 32, kMostLines = 128;
constexpr int64_t kGroupSteps = 16;  // of a block of several groups
constexpr int64_t kRing = 8;         // blocks
constexpr int64_t kParts = 32;       // of the gradients of the weights, and of those of the inputs
constexpr int64_t kSumsBytes = 64 << 20;

// How the rows are cut.
template <class T>
struct Cut {
  int64_t groups, of_group, slabs, bins, items, rows, steps;

  explicit Cut(const PullbackProblem<T>& p) : groups(p.groups), of_group(p.sizes.rows / p.groups) {
    const int64_t units = p.sizes.units, number = sizeof(T);
    // A matrix that does not fit the cache of a core is read for more rows at once.
    const bool cached = 3 * units * units * number <= kCache;
    const int64_t few = cached ? 8 : 16, wanted = parts_of(of_group, cached ? 8 : 4);
    const int64_t most = std::clamp(wanted, few, kSlab);
    slabs = bins = 1;
    items = groups;
    if (of_group > most) {
      slabs = parts_of(of_group, most);
      rows = Division(of_group, slabs).most();
      const int64_t sums = Pullback<T>::sums_size(p) * number * groups;
      bins = std::min(slabs, std::clamp<int64_t>(kSumsBytes / (sums + 1), groups == 1 ? 4 : 1, 32));
      items = groups * bins;
    } else {
      items = parts_of(groups, std::max<int64_t>(1, few / std::max<int64_t>(1, of_group)));
      rows = Division(groups, items).most() * of_group;
    }
    const int64_t line = (7 * padded<T>(units) + padded<T>(p.inputs)) * number;
    const int64_t lines = std::clamp(kBlockBytes / line, kFewestLines, kMostLines);
    const int64_t least = rows > of_group ? kGroupSteps : 1;
    steps = std::min(p.sizes.steps, std::max(least, lines / std::max<int64_t>(1, rows)));
  }
  // Groups of an item.
  int64_t most_groups() const { return slabs > 1 ? 1 : Division(groups, items).most(); }
};

template <class T>
class PullbackRun final : public Job {
 public:
  explicit PullbackRun(const PullbackProblem<T>& problem)
      : p_(problem), cut_(problem), pull_(problem, cut_.rows, cut_.steps) {
    const Sizes& s = p_.sizes;
    const int64_t work = 6 * s.steps * s.rows * s.units * (s.units + p_.inputs);
    threads_ = work < kWakes ? 1 : available_threads();
    is_ring_ = cut_.items == 1 && cut_.slabs == 1 && threads_ > 1;
    if (!is_ring_) threads_ = static_cast<int>(std::min<int64_t>(threads_, cut_.items));
    weight_parts_ = std::min(pull_.panels(), kParts);
    input_parts_ = std::min(parts_of(pull_.input_panels(), 3), kParts);
  }

  void run() {
    const int64_t packed = aligned(Pullback<T>::packed_size(p_));
    const int64_t bytes = static_cast<int64_t>(sizeof(T));
    carry_ = aligned(pull_.carry_size());
    block_ = aligned(pull_.block_size());
    sums_ = aligned(cut_.most_groups() * Pullback<T>::sums_size(p_));
    keeps_ = cut_.bins > 1;
    const int64_t ring = is_ring_ ? std::min(kRing, pull_.blocks()) : 1;
    own_ = carry_ + ring * block_ + (keeps_ ? 0 : sums_);
    const int64_t workers = is_ring_ ? 1 : threads_;
    const int64_t kept = keeps_ ? cut_.items * Pullback<T>::sums_size(p_) : 0;
    const int64_t all = packed + kept + workers * own_;
    const Scratch scratch(all, sizeof(T));
    T* memory = static_cast<T*>(scratch.data());
    prefer_large_pages(memory, static_cast<std::size_t>(all * bytes));
    pull_.pack(memory);
    kept_ = memory + packed;
    memory_ = kept_ + kept;
    run_job(*this, threads_ - 1);
    if (!keeps_) return;
    for (int64_t group = 0; group < cut_.groups; ++group) {
      const T* sums = kept_ + group * cut_.bins * Pullback<T>::sums_size(p_);
      pull_.write_weights(group, sums, cut_.bins);
    }
  }

  void lead(int) override { is_ring_ ? lead_ring() : work(0); }
  void help() override {
    const int number = joined_.fetch_add(1);
    if (is_ring_) {
      for (int idle = 0; !all_done();) wait_or_take(idle);
    } else if (number < threads_) {
      work(number);
    }
  }

 private:
  using Slab = typename Pullback<T>::Slab;
  using Block = typename Pullback<T>::Block;
  using Recurrence = typename Pullback<T>::Recurrence;

  static int64_t aligned(int64_t numbers) { return (numbers + 63) / 64 * 64; }

  void clear(T* sums, int64_t groups) const {
    std::memset(sums, 0, static_cast<std::size_t>(groups * Pullback<T>::sums_size(p_)) * sizeof(T));
  }

  void work(int number) {
    T* memory = memory_ + number * own_;
    for (int64_t item; (item = next_.fetch_add(1, std::memory_order_relaxed)) < cut_.items;) {
      if (cut_.slabs == 1) {
        const Range groups = Division(cut_.groups, cut_.items)[item];
        T* sums = memory + carry_ + block_;
        clear(sums, groups.size());
        const int64_t b = cut_.of_group;
        run_slab({{groups.begin * b, groups.end * b}, b}, memory, sums);
        write(groups, sums);
        continue;
      }
      const int64_t group = item / cut_.bins;
      T* sums = keeps_ ? kept_ + item * Pullback<T>::sums_size(p_) : memory + carry_ + block_;
      clear(sums, 1);
      const Range slabs = Division(cut_.slabs, cut_.bins)[item % cut_.bins];
      for (int64_t slab = slabs.begin; slab < slabs.end; ++slab) {
        const Range rows = Division(cut_.of_group, cut_.slabs)[slab];
        const int64_t first = group * cut_.of_group;
        run_slab({{first + rows.begin, first + rows.end}, rows.size()}, memory, sums);
      }
      if (!keeps_) write({group, group + 1}, sums);
    }
  }

  void write(Range groups, const T* sums) const {
    for (int64_t group = groups.begin; group < groups.end; ++group) {
      pull_.write_weights(group, sums + (group - groups.begin) * Pullback<T>::sums_size(p_), 1);
    }
  }

  void run_slab(const Slab& slab, T* memory, T* sums) const {
    Recurrence recurrence(pull_, slab, memory);
    for (int64_t j = 0; j < pull_.blocks(); ++j) {
      Block block = pull_.block(j, memory + carry_);
      recurrence.run(block);
      pull_.add_weights(block, slab, {0, pull_.panels()}, sums);
      pull_.write_inputs(block, slab, {0, pull_.input_panels()});
    }
    recurrence.finish();
  }

  Slab whole() const { return {{0, p_.sizes.rows}, cut_.of_group}; }
  Block in_ring(int64_t j) const { return pull_.block(j, memory_ + carry_ + j % kRing * block_); }
  T* ring_sums() const { return memory_ + own_ - sums_; }
  int64_t part_count() const { return weight_parts_ + input_parts_; }

  void lead_ring() {
    clear(ring_sums(), cut_.groups);
    Recurrence recurrence(pull_, whole(), memory_);
    for (int64_t j = 0; j < pull_.blocks(); ++j) {
      for (int idle = 0; j - slowest() >= kRing;) wait_or_take(idle);
      Block block = in_ring(j);
      recurrence.run(block);
      ready_.store(j + 1, std::memory_order_release);
    }
    recurrence.finish();
    for (int idle = 0; !all_done();) wait_or_take(idle);
    write({0, cut_.groups}, ring_sums());
  }

  // The blocks that all parts are done with.
  int64_t slowest() const {
    int64_t least = pull_.blocks();
    for (int64_t i = 0; i < part_count(); ++i) {
      least = std::min(least, parts_[i].done.load(std::memory_order_acquire));
    }
    return least;
  }
  bool all_done() const { return slowest() == pull_.blocks(); }

  void wait_or_take(int& idle) {
    if (take()) {
      idle = 0;
    } else if (++idle < 500) {
      pause();
    } else {
      sched_yield();
    }
  }

  // Computes the products of the next block of a part that no other thread works on.
  bool take() {
    const int64_t count = part_count(), first = turn_.fetch_add(1, std::memory_order_relaxed);
    for (int64_t i = 0; i < count; ++i) {
      const int64_t number = (first + i) % count;
      Part& part = parts_[number];
      if (part.done.load(std::memory_order_acquire) >= ready_.load(std::memory_order_acquire) ||
          part.busy.exchange(true, std::memory_order_acquire)) {
        continue;
      }
      const int64_t j = part.done.load(std::memory_order_acquire);
      const bool is_ready = j < ready_.load(std::memory_order_acquire);
      if (is_ready) {
        multiply_out(number, in_ring(j));
        part.done.store(j + 1, std::memory_order_release);
      }
      part.busy.store(false, std::memory_order_release);
      if (is_ready) return true;
    }
    return false;
  }

  void multiply_out(int64_t part, const Block& block) const {
    if (part < weight_parts_) {
      const Range panels = Division(pull_.panels(), weight_parts_)[part];
      pull_.add_weights(block, whole(), panels, ring_sums());
    } else {
      const Range panels = Division(pull_.input_panels(), input_parts_)[part - weight_parts_];
      pull_.write_inputs(block, whole(), panels);
    }
  }

  struct alignas(64) Part {
    std::atomic<int64_t> done{0};  // blocks
    std::atomic<bool> busy{false};
  };

  const PullbackProblem<T>& p_;
  const Cut<T> cut_;
  Pullback<T> pull_;
  int threads_ = 1;
  bool is_ring_ = false, keeps_ = false;
  int64_t weight_parts_ = 1, input_parts_ = 0;
  int64_t carry_ = 0, block_ = 0, sums_ = 0, own_ = 0;
  T *kept_ = nullptr, *memory_ = nullptr;
  std::atomic<int> joined_{1};
  std::atomic<int64_t> next_{0}, ready_{0}, turn_{0};
  Part parts_[2 * kParts];
};

template <class T>
void run_pullback(const PullbackProblem<T>& problem) {
  const PullbackProblem<T>& p = problem;
  if (p.sizes.rows > 0 && p.sizes.units > 0 && p.sizes.steps > 0) return PullbackRun<T>(p).run();
  const auto clear = [&](T* weights, int64_t rows, int64_t blocks) {
    const auto count = static_cast<std::size_t>(p.groups * rows * blocks * p.sizes.units);
    if (weights) std::memset(weights, 0, count * sizeof(T));
  };
  clear(p.of_kernel, p.inputs, 3);
  clear(p.of_recurrent_kernel, p.sizes.units, 3);
  clear(p.of_bias, 1, 3);
  clear(p.of_candidate_bias, 1, 1);
}

}  // namespace
}  // namespace jaxgru
