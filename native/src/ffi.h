// The part of the C interface of XLA's custom calls that the handlers use, in version 0.3 of it:
// that of jaxlib 0.10, the oldest supported version.
//
// XLA takes handlers of its own version and of older ones. Declared here, a build needs no jaxlib,
// and any jaxlib can be installed beside it. tests/ffi_test.cc compares these with XLA's own
// header.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>

namespace jaxgru {
namespace ffi {

constexpr int kMajor = 0, kMinor = 3;

enum Type : int32_t { kFlags = 1, kInteger = 5, kFloat32 = 11, kFloat64 = 12 };
enum Code : int32_t { kInvalidArgument = 3, kResourceExhausted = 8, kFailedPrecondition = 9 };
enum Stage : int32_t { kExecute = 3 };
constexpr int32_t kScalar = 3;    // the kind of an attribute
constexpr int32_t kMetadata = 1;  // the kind of an extension

struct Extension {
  size_t size;
  int32_t kind;
  Extension* next;
};

struct Version {
  size_t size;
  Extension* extension;
  int32_t major, minor;
};

struct Buffer {
  size_t size;
  Extension* extension;
  Type type;
  void* data;
  int64_t rank;
  const int64_t* dimensions;

  int64_t count() const {
    int64_t product = 1;
    for (int64_t i = 0; i < rank; ++i) product *= dimensions[i];
    return product;
  }
};

// Operands or results.
struct Buffers {
  size_t size;
  Extension* extension;
  int64_t count;
  const int32_t* kinds;
  void** buffers;

  // Null beyond the last.
  const Buffer* at(int64_t i) const {
    return i < count ? static_cast<const Buffer*>(buffers[i]) : nullptr;
  }
};

struct Text {
  const char* data;
  size_t length;
};

struct Scalar {
  Type type;
  void* value;
};

struct Attributes {
  size_t size;
  Extension* extension;
  int64_t count;
  const int32_t* kinds;
  Text** names;
  void** values;

  // Empty without a boolean, or an integer of 64 bits, of this name.
  std::optional<bool> flag(const char* name) const { return scalar<bool>(name, kFlags); }
  std::optional<int64_t> integer(const char* name) const { return scalar<int64_t>(name, kInteger); }

  template <class T>
  std::optional<T> scalar(const char* name, Type type) const {
    for (int64_t i = 0; i < count; ++i) {
      const Text& own = *names[i];
      if (own.length != std::strlen(name) || std::memcmp(own.data, name, own.length) != 0) continue;
      const auto* scalar = static_cast<const Scalar*>(values[i]);
      if (kinds[i] == kScalar && scalar->type == type) {
        return *static_cast<const T*>(scalar->value);
      }
    }
    return {};
  }
};

struct Failure;  // of XLA

struct NewFailure {
  size_t size;
  Extension* extension;
  const char* message;
  Code code;
};

struct Api {
  size_t size;
  Extension* extension;
  Version version;
  const void* internal;
  Failure* (*fail)(NewFailure*);
  // More follows.
};

struct Frame {
  size_t size;
  Extension* extension;
  const Api* api;
  void* context;
  Stage stage;
  Buffers operands, results;
  Attributes attributes;
  // More follows.
};

struct Metadata {
  size_t size;
  Version version;
  uint32_t traits;
  int64_t state_type;
};

struct MetadataExtension {
  Extension extension;
  Metadata* metadata;
};

// The result of a handler: success has no message.
struct Result {
  std::string message;
  Code code = kInvalidArgument;
};

// Calls `function(operands, results, attributes)`; asked for its metadata, a handler gives that
// instead.
template <class Function>
Failure* handle(Frame* frame, const Function& function) {
  if (frame->extension != nullptr && frame->extension->kind == kMetadata) {
    Metadata& metadata = *reinterpret_cast<MetadataExtension*>(frame->extension)->metadata;
    const size_t size = offsetof(Version, minor) + sizeof(int32_t);
    metadata.version = {size, nullptr, kMajor, kMinor};
    metadata.traits = 0;
    metadata.state_type = 0;
    return nullptr;
  }
  Result result{"jaxgru kernel: not in the stage of execution", kFailedPrecondition};
  if (frame->stage == kExecute) {
    result = function(frame->operands, frame->results, frame->attributes);
  }
  if (result.message.empty()) return nullptr;
  const size_t size = offsetof(NewFailure, code) + sizeof(Code);
  NewFailure failure{size, nullptr, result.message.c_str(), result.code};
  return frame->api->fail(&failure);
}

}  // namespace ffi
}  // namespace jaxgru
