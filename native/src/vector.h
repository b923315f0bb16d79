// Vectors of the instruction set that this file is compiled for, and the functions of the gates.
//
// GCC's and Clang's vector extension: arithmetic is written as for numbers.
#pragma once

#include <cstdint>
#include <type_traits>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace jaxgru {
namespace {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

template <class T>
struct VectorOf;

template <>
struct VectorOf<float> {
  typedef float Type __attribute__((vector_size(kVectorBytes)));
  typedef float Anywhere __attribute__((vector_size(kVectorBytes), aligned(4)));
  typedef int32_t Bits __attribute__((vector_size(kVectorBytes)));
};

template <>
struct VectorOf<double> {
  typedef double Type __attribute__((vector_size(kVectorBytes)));
  typedef double Anywhere __attribute__((vector_size(kVectorBytes), aligned(8)));
  typedef int64_t Bits __attribute__((vector_size(kVectorBytes)));
};

template <class T>
using Vector = typename VectorOf<T>::Type;

template <class T>
constexpr int kLanes = kVectorBytes / static_cast<int>(sizeof(T));

// Vectors at any address. Not by std::memcpy, which may write pointers and sizes for all that the
// compiler can see: it would load those again after every store.
template <class T>
inline Vector<T> load(const T* from) {
  return *reinterpret_cast<const typename VectorOf<T>::Anywhere*>(from);
}

template <class T>
inline void store(T* to, const Vector<T>& v) {
  *reinterpret_cast<typename VectorOf<T>::Anywhere*>(to) = v;
}

// Fewer lanes than a vector has. Of the others, nothing in memory is touched.
#if defined(__AVX512F__)
inline auto first_lanes(int64_t count) { return static_cast<__mmask16>((1u << count) - 1); }
inline Vector<float> load_some(const float* from, int64_t count) {
  return _mm512_maskz_loadu_ps(first_lanes(count), from);
}
inline Vector<double> load_some(const double* from, int64_t count) {
  return _mm512_maskz_loadu_pd(static_cast<__mmask8>(first_lanes(count)), from);
}
inline void store_some(float* to, const Vector<float>& v, int64_t count) {
  _mm512_mask_storeu_ps(to, first_lanes(count), v);
}
inline void store_some(double* to, const Vector<double>& v, int64_t count) {
  _mm512_mask_storeu_pd(to, static_cast<__mmask8>(first_lanes(count)), v);
}
#elif defined(__AVX2__)
// -1 in the first lanes.
template <class T>
inline __m256i first_lanes(int64_t count) {
  using Bits = typename VectorOf<T>::Bits;
  Bits lanes;
  for (int i = 0; i < kLanes<T>; ++i) lanes[i] = i;
  using Lane = std::remove_reference_t<decltype(lanes[0])>;
  return reinterpret_cast<__m256i>(lanes < static_cast<Lane>(count));
}
inline Vector<float> load_some(const float* from, int64_t count) {
  return _mm256_maskload_ps(from, first_lanes<float>(count));
}
inline Vector<double> load_some(const double* from, int64_t count) {
  return _mm256_maskload_pd(from, first_lanes<double>(count));
}
inline void store_some(float* to, const Vector<float>& v, int64_t count) {
  _mm256_maskstore_ps(to, first_lanes<float>(count), v);
}
inline void store_some(double* to, const Vector<double>& v, int64_t count) {
  _mm256_maskstore_pd(to, first_lanes<double>(count), v);
}
#else
template <class T>
inline Vector<T> load_some(const T* from, int64_t count) {
  Vector<T> v{};
  for (int64_t i = 0; i < count; ++i) v[i] = from[i];
  return v;
}
template <class T>
inline void store_some(T* to, const Vector<T>& v, int64_t count) {
  for (int64_t i = 0; i < count; ++i) to[i] = v[i];
}
#endif

// The first `count` lanes; the others are 0.
template <class T>
inline Vector<T> load(const T* from, int64_t count) {
  return count >= kLanes<T> ? load(from) : load_some(from, count);
}

template <class T>
inline void store(T* to, const Vector<T>& v, int64_t count) {
  count >= kLanes<T> ? store(to, v) : store_some(to, v, count);
}

// c[0] + c[1] x + ..., the halves of the sum apart (Estrin's scheme): short chains of operations.
template <int N, class T, class V>
inline V polynomial(const T* c, const V& x) {
  if constexpr (N == 1) {
    return V{} + c[0];
  } else if constexpr (N == 2) {
    return c[0] + c[1] * x;
  } else {
    constexpr int half = N > 8 ? 8 : N > 4 ? 4 : 2;
    V power = x * x;
    for (int i = 2; i < half; i *= 2) power *= power;
    return polynomial<half>(c, x) + power * polynomial<N - half>(c + half, x);
  }
}

// 1/2!, 1/3!, ...: within |x| <= ln(2) / 2 the next term of exp is below the rounding of T.
template <class T>
struct Exponential;

template <>
struct Exponential<float> {
  static constexpr int kTerms = 6;
  static constexpr float kShift = 0x1.8p23f;  // adding it rounds to an integer, in the lowest bits
  static constexpr int kMantissa = 23;
  static constexpr int32_t kOne = 0x3F800000;
  // ln(2) in two parts: products with the first are exact.
  static constexpr float kLn2 = 0.693359375f, kLn2Rest = -2.12194440054690583e-4f;
  static constexpr float kLimit = 87;  // of x, so that no 2^n overflows
};

template <>
struct Exponential<double> {
  static constexpr int kTerms = 12;
  static constexpr double kShift = 0x1.8p52;
  static constexpr int kMantissa = 52;
  static constexpr int64_t kOne = 0x3FF0000000000000;
  static constexpr double kLn2 = 6.93145751953125e-1, kLn2Rest = 1.42860682030941723212e-6;
  static constexpr double kLimit = 708;
};

template <class T>
constexpr T kInverseFactorials[] = {T(1) / 2,        T(1) / 6,         T(1) / 24,
                                    T(1) / 120,      T(1) / 720,       T(1) / 5040,
                                    T(1) / 40320,    T(1) / 362880,    T(1) / 3628800,
                                    T(1) / 39916800, T(1) / 479001600, T(1) / 6227020800};

// exp(x) = scale + scale * rest, with |rest| < 1/2; x within the limit of its type, or NaN.
template <class T>
struct Parts {
  Vector<T> scale, rest;
};

template <class T>
inline Parts<T> exp_parts(const Vector<T>& x) {
  using E = Exponential<T>;
  constexpr T log2_e = T(1.44269504088896340736);
  const Vector<T> shifted = x * log2_e + E::kShift;
  const Vector<T> n = shifted - E::kShift;
  const Vector<T> x1 = x - n * E::kLn2;
  const Vector<T> x0 = x1 - n * E::kLn2Rest;
  const auto bits = reinterpret_cast<typename VectorOf<T>::Bits>(shifted);
  const auto scale = reinterpret_cast<Vector<T>>((bits << E::kMantissa) + E::kOne);
  const Vector<T> series = polynomial<E::kTerms>(kInverseFactorials<T>, x0);
  return {scale, x0 + (x0 * x0) * series};
}

// x within [-limit, limit]; NaN stays.
template <class T>
inline Vector<T> clamped(const Vector<T>& x, T limit) {
  const Vector<T> high = Vector<T>{} + limit, low = -high;
  const Vector<T> below = high < x ? high : x;
  return low > below ? low : below;
}

// Exactly 0 where exp(-x) is beyond the limit: in infinity, too.
template <class T>
inline Vector<T> sigmoid(const Vector<T>& x) {
  constexpr T limit = Exponential<T>::kLimit;
  const Parts<T> e = exp_parts<T>(clamped<T>(-x, limit));
  const Vector<T> zero{}, one = zero + 1;
  return (x < zero - limit ? zero : one) / (1 + (e.scale + e.scale * e.rest));
}

// With m = exp(2x) - 1, tanh(x) = m / (m + 2). No digits are lost near 0.
template <class T>
inline Vector<T> tanh(const Vector<T>& x) {
  const Parts<T> e = exp_parts<T>(clamped<T>(2 * x, 40));
  const Vector<T> m = (e.scale - 1) + e.scale * e.rest;
  return m / (m + 2);
}

}  // namespace
}  // namespace jaxgru
