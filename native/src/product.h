// Products of a few rows with a matrix, the sums in registers.
//
// A matrix is packed in panels: for each vector of units, the vectors of its C blocks (the gates),
// one row of the matrix after the other. Each sum runs over the rows of the matrix in order,
// however rows and panels are grouped: results are equal to the bit in a batch, alone, and on any
// number of threads.
#pragma once

#include <cstdint>
#include <type_traits>

#include "vector.h"

namespace jaxgru {
namespace {

struct Range {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};

// As many sums as fill the registers, beside the operands.
constexpr int kSums = kRegisters == 32 ? 24 : 12;
constexpr int kRows = kRegisters == 32 ? 8 : 4;

// Vectors side by side in a matrix of one block: as few loads for as many products.
constexpr int kWide = 2;

template <class T>
inline int64_t panels_of(int64_t units) {
  return (units + kLanes<T> - 1) / kLanes<T>;
}

template <class T>
inline int64_t padded(int64_t units) {
  return panels_of<T>(units) * kLanes<T>;
}

// The numbers that a packed matrix takes; a wide one has a single block.
template <class T>
inline int64_t packed_size(int64_t depth, int blocks, int64_t units) {
  return depth * blocks * padded<T>(units);
}

template <class T>
inline int64_t wide_size(int64_t depth, int64_t units) {
  return depth * padded<T>(units + (kWide - 1) * kLanes<T>);
}

// Packs `element(k, column)`, the columns of one block after those of the other, in panels of some
// units: of the lanes of a vector, or of those of a wide one.
template <class T, class Element>
inline void pack(int64_t depth, int blocks, int64_t units, const Element& element, T* packed,
                 int64_t width = kLanes<T>) {
  for (int64_t first = 0; first < units; first += width) {
    const int64_t count = units - first < width ? units - first : width;
    for (int64_t k = 0; k < depth; ++k) {
      for (int block = 0; block < blocks; ++block, packed += width) {
        const int64_t column = block * units + first;
        for (int64_t i = 0; i < count; ++i) packed[i] = element(k, column + i);
        for (int64_t i = count; i < width; ++i) packed[i] = 0;
      }
    }
  }
}

// The sums of some rows and panels, C each.
template <class T, int C>
struct Tile {
  int64_t row, rows, panel, panels;
  Vector<T> (*sums)[C];

  static constexpr int64_t kMost = kSums / C;
  int64_t size() const { return rows * panels; }
  template <class Function>
  void each(const Function& function) const {
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t p = 0; p < panels; ++p) function(row + r, panel + p, sums[r * panels + p]);
    }
  }
};

template <class T, int R, int P, int C, class Row, class Start, class Finish>
__attribute__((always_inline)) inline void tile(int64_t first, int64_t panel, const T* packed,
                                                int64_t depth, const Row& row, const Start& start,
                                                const Finish& finish) {
  constexpr int lanes = kLanes<T>;
  const int64_t panel_size = depth * C * lanes;
  const T* rows[R];
  Vector<T> ends[R * P][C];
  for (int r = 0; r < R; ++r) {
    rows[r] = row(first + r);
    for (int p = 0; p < P; ++p) start(first + r, panel + p, ends[r * P + p]);
  }
  // An array of their own, which no function is given: only such stays in registers.
  Vector<T> sums[R * P][C];
  for (int i = 0; i < R * P; ++i) {
    for (int c = 0; c < C; ++c) sums[i][c] = ends[i][c];
  }
  packed += panel * panel_size;
  for (int64_t k = 0; k < depth; ++k, packed += C * lanes) {
    for (int p = 0; p < P; ++p) {
      Vector<T> columns[C];
      for (int c = 0; c < C; ++c) columns[c] = load(packed + p * panel_size + c * lanes);
      for (int r = 0; r < R; ++r) {
        for (int c = 0; c < C; ++c) sums[r * P + p][c] += rows[r][k] * columns[c];
      }
    }
  }
  for (int i = 0; i < R * P; ++i) {
    for (int c = 0; c < C; ++c) ends[i][c] = sums[i][c];
  }
  finish(Tile<T, C>{first, R, panel, P, ends});
}

template <int N, class Function>
__attribute__((always_inline)) inline void with_constant(int64_t n, const Function& function) {
  if (n == N) {
    function(std::integral_constant<int, N>());
  } else if constexpr (N > 1) {
    with_constant<N - 1>(n, function);
  }
}

// For every row and panel: sums from `start(row, panel, sums)`, to which the product of `row(row)`
// with the packed matrix is added, go to `finish(tile)`; C sums, one for each block.
template <class T, int C, class Row, class Start, class Finish>
inline void products(int64_t rows, Range panels, const T* packed, int64_t depth, const Row& row,
                     const Start& start, const Finish& finish) {
  if (rows == 0) return;
  // Tiles of equal height: a last one of a single row would take as long as a full one.
  const int64_t tiles = (rows + kRows - 1) / kRows;
  const int64_t height = rows / tiles, higher = rows % tiles;
  if (tiles == 1) {
    with_constant<kRows>(rows, [&](auto r) {
      constexpr int R = r, P = kSums / (R * C) > 1 ? kSums / (R * C) : 1;
      int64_t panel = panels.begin;
      for (; panel + P <= panels.end; panel += P) {
        tile<T, R, P, C>(0, panel, packed, depth, row, start, finish);
      }
      for (; panel < panels.end; ++panel) {
        tile<T, R, 1, C>(0, panel, packed, depth, row, start, finish);
      }
    });
    return;
  }
  constexpr int P = kSums / (kRows * C) > 1 ? kSums / (kRows * C) : 1;
  for (int64_t panel = panels.begin; panel < panels.end;) {
    const bool several = panel + P <= panels.end;
    for (int64_t i = 0, first = 0; i < tiles; ++i) {
      const int64_t size = height + (i < higher);
      with_constant<kRows>(size, [&](auto r) {
        constexpr int R = r;
        if constexpr (R >= kRows / 2) {
          if (several) {
            tile<T, R, P, C>(first, panel, packed, depth, row, start, finish);
          } else {
            tile<T, R, 1, C>(first, panel, packed, depth, row, start, finish);
          }
        }
      });
      first += size;
    }
    panel += several ? P : 1;
  }
}

// The same for a matrix of one block, packed wide: `start(row, panel)` and
// `finish(row, panel, sum)` are of single panels.
template <class T, class Row, class Start, class Finish>
inline void wide_products(int64_t rows, Range panels, const T* packed, int64_t depth,
                          const Row& row, const Start& start, const Finish& finish) {
  const Range groups{panels.begin / kWide, (panels.end + kWide - 1) / kWide};
  const auto start_group = [&](int64_t i, int64_t group, Vector<T>(&sums)[kWide]) {
    for (int c = 0; c < kWide; ++c) {
      const int64_t panel = group * kWide + c;
      sums[c] = panel < panels.end ? start(i, panel) : Vector<T>{};
    }
  };
  const auto finish_group = [&](const Tile<T, kWide>& tile) {
    tile.each([&](int64_t i, int64_t group, Vector<T>(&sums)[kWide]) {
      for (int c = 0; c < kWide && group * kWide + c < panels.end; ++c) {
        finish(i, group * kWide + c, sums[c]);
      }
    });
  };
  products<T, kWide>(rows, groups, packed, depth, row, start_group, finish_group);
}

}  // namespace
}  // namespace jaxgru
