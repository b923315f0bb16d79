// Products of a few rows with a matrix, the sums in registers.
//
// A panel is the columns of a vector of units, in each of C blocks (the gates). Each sum runs over
// the rows of the matrix in order, however rows and panels are grouped: results are
// bit-for-bit identical in a batch, alone, and for any number of threads.
#pragma once

#include <array>
#include <cstdint>
#include <type_traits>

#include "vector.h"

namespace jaxgru {
namespace {

struct Range {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};

// As many sums as hide the latency of an addition, and fit into the registers beside the operands.
constexpr int kSums = 12;
constexpr int kRows = 4;
constexpr int most_panels(int rows, int blocks) { return kSums / (rows * blocks); }

template <class T>
inline int64_t panels_of(int64_t units) {
  return (units + kLanes<T> - 1) / kLanes<T>;
}

template <class T>
inline int64_t padded(int64_t units) {
  return panels_of<T>(units) * kLanes<T>;
}

// The numbers that a packed matrix takes.
template <class T>
inline int64_t packed_size(int64_t depth, int blocks, int64_t units) {
  return depth * blocks * padded<T>(units);
}

// A matrix in panels, one after the other: the vectors of the C blocks, row after row.
template <class T, int C>
struct Packed {
  const T* data = nullptr;
  int64_t depth = 0;  // rows

  const T* at(int64_t panel) const { return data + panel * panel_stride(); }
  int64_t panel_stride() const { return depth * row_stride(); }
  static constexpr int64_t row_stride() { return C * kLanes<T>; }
  static constexpr int64_t block_stride() { return kLanes<T>; }
};

// An unpacked matrix, for whole vectors of units: slower to read, but without packing.
template <class T>
struct Unpacked {
  const T* data = nullptr;
  int64_t depth = 0;
  int64_t units = 0;
  int64_t width = 0;  // columns, of all blocks of the matrix

  const T* at(int64_t panel) const { return data + panel * panel_stride(); }
  static constexpr int64_t panel_stride() { return kLanes<T>; }
  int64_t row_stride() const { return width; }
  int64_t block_stride() const { return units; }
};

// A matrix in either form.
template <class T, int C>
struct Matrix {
  Packed<T, C> packed;  // without data if it is not
  Unpacked<T> unpacked;

  // `function(matrix)`, compiled for each form.
  template <class Function>
  void with(const Function& function) const {
    packed.data ? function(packed) : function(unpacked);
  }
};

// How a matrix to be packed lies in memory: reads are waited for, writes are not.
enum class Layout { by_rows, by_columns };

// Packs some panels of `element(k, column)`, the columns of one block after those of the other.
template <class T, class Element>
inline void pack(int64_t depth, int blocks, int64_t units, Range panels, Layout layout,
                 const Element& element, T* packed) {
  constexpr int lanes = kLanes<T>;
  const auto pack_vector = [&](int64_t panel, int64_t k, int block) {
    T* to = packed + ((panel * depth + k) * blocks + block) * lanes;
    const int64_t first = panel * lanes, column = block * units + first;
    if (first + lanes <= units) {
      for (int i = 0; i < lanes; ++i) to[i] = element(k, column + i);
    } else {
      for (int i = 0; i < lanes; ++i) to[i] = first + i < units ? element(k, column + i) : T(0);
    }
  };
  const auto pack_range = [&](Range range) {
    for (int64_t k = 0; k < depth; ++k) {
      for (int block = 0; block < blocks; ++block) {
        for (int64_t panel = range.begin; panel < range.end; ++panel) pack_vector(panel, k, block);
      }
    }
  };
  if (layout == Layout::by_rows) return pack_range(panels);
  for (int64_t panel = panels.begin; panel < panels.end; ++panel) pack_range({panel, panel + 1});
}

template <class T, int C>
using Sums = std::array<Vector<T>, C>;

// The sums of R rows and P panels, C each.
template <class T, int R, int P, int C>
struct Tile {
  int64_t row, panel;  // the first
  Sums<T, C> sums[R * P];

  // `function(row, panel, i)`, for the sums i.
  template <class Function>
  __attribute__((always_inline)) void each(const Function& function) const {
    for (int i = 0; i < R * P; ++i) function(row + i / P, panel + i % P, i);
  }
};

// The distance between the numbers of a row that is given to products().
template <class Row>
constexpr int64_t left_stride(const Row&) {
  return 1;
}

// Each sum is that of N parts of the rows of the matrix, added up in order. A tile of few sums
// computes the parts at once: more sums, which do not wait for each other.
template <class T, int N, int R, int P, int C, class Matrix, class Row, class Start, class Finish>
__attribute__((always_inline)) inline void run_tile(int64_t first, int64_t panel,
                                                    const Matrix& matrix, const Row& row,
                                                    const Start& start, const Finish& finish) {
  constexpr int at_once = R * P * C * N <= kSums ? N : 1;
  const T* rows[R];
  Tile<T, R, P, C> tile;
  tile.row = first;
  tile.panel = panel;
  for (int r = 0; r < R; ++r) rows[r] = row(first + r);
  // A local array that is passed to no function: only such an array stays in registers.
  Vector<T> sums[at_once][R * P][C] = {};
  tile.each([&](int64_t row, int64_t panel, int i) {
    const Sums<T, C> first_terms = start(row, panel);
    for (int c = 0; c < C; ++c) sums[0][i][c] = first_terms[c];
  });
  const T* matrix_rows = matrix.at(panel);
  const int64_t stride = left_stride(row), part = matrix.depth / N;
  const auto add_row = [&](int64_t k, Vector<T>(&to)[R* P][C]) __attribute__((always_inline)) {
    const T* at = matrix_rows + k * matrix.row_stride();
    Vector<T> columns[P][C];
    for (int p = 0; p < P; ++p) {
      for (int c = 0; c < C; ++c) {
        columns[p][c] = load(at + p * matrix.panel_stride() + c * matrix.block_stride());
      }
    }
    for (int r = 0; r < R; ++r) {
      for (int p = 0; p < P; ++p) {
        for (int c = 0; c < C; ++c) to[r * P + p][c] += rows[r][k * stride] * columns[p][c];
      }
    }
  };
  for (int n = 0; n < N; n += at_once) {
    for (int64_t k = n * part; k < (n + 1) * part; ++k) {
      for (int m = 0; m < at_once; ++m) add_row(k + m * part, sums[m]);
    }
    if (n + at_once == N) {
      for (int64_t k = N * part; k < matrix.depth; ++k) add_row(k, sums[at_once - 1]);
    }
    for (int i = 0; i < R * P; ++i) {
      for (int c = 0; c < C; ++c) {
        if (n == 0) tile.sums[i][c] = sums[0][i][c];
        if (n > 0) tile.sums[i][c] += sums[0][i][c];
        for (int m = 1; m < at_once; ++m) tile.sums[i][c] += sums[m][i][c];
        if (n + at_once < N) sums[0][i][c] = Vector<T>{};
      }
    }
  }
  finish(tile);
}

// The start of a product without a summand. An object, because a function would not be inlined.
template <class T, int C>
struct Zero {
  Sums<T, C> operator()(int64_t, int64_t) const { return {}; }
};

template <int N, class Function>
__attribute__((always_inline)) inline void with_constant(int64_t n, const Function& function) {
  if (n == N) {
    function(std::integral_constant<int, N>());
  } else if constexpr (N > 1) {
    with_constant<N - 1>(n, function);
  }
}

// The smallest number of parts of at most some size.
inline int64_t parts_of(int64_t size, int64_t most) {
  return size <= most ? 1 : (size + most - 1) / most;
}

// A range cut into parts, equal but for one more or less.
struct Division {
  int64_t count, size, larger = 0;

  Division(int64_t whole, int64_t parts) : count(parts), size(whole) {
    if (count == 1) return;
    size = whole / count;
    larger = whole % count;
  }
  // Of the largest part.
  int64_t most() const { return size + (larger > 0); }
  Range operator[](int64_t i) const {
    const int64_t begin = i * size + (i < larger ? i : larger);
    return {begin, begin + size + (i < larger)};
  }
};

// For every row and panel: sums from `start(row, panel)`, to which the product of `row(row)`
// with the matrix is added, go to `finish(tile)`; C sums, one for each block.
//
// A matrix that is a little too large for a cache is best read forwards and backwards in turn: what
// was read last is still there. The sums are those of N parts.
template <class T, int C, int N = 1, class Matrix, class Row, class Start, class Finish>
inline void products(int64_t rows, Range panels, bool backwards, const Matrix& matrix,
                     const Row& row, const Start& start, const Finish& finish) {
  if (rows == 0 || panels.size() == 0) return;
  const Division heights(rows, parts_of(rows, kRows));
  const int most = most_panels(static_cast<int>(heights.most()), C);
  const Division widths(panels.size(), parts_of(panels.size(), most));
  for (int64_t j = 0; j < widths.count; ++j) {
    const Range own_panels = widths[backwards ? widths.count - 1 - j : j];
    for (int64_t i = 0; i < heights.count; ++i) {
      const Range own_rows = heights[i];
      with_constant<kRows>(own_rows.size(), [&](auto r) {
        with_constant<most_panels(r, C)>(own_panels.size(), [&](auto p) {
          run_tile<T, N, r, p, C>(own_rows.begin, panels.begin + own_panels.begin, matrix, row,
                                  start, finish);
        });
      });
    }
  }
}

}  // namespace
}  // namespace jaxgru
