// Whether src/ffi.h declares what XLA's header does: compiled, not run, with the headers of a
// jaxlib.
#include "ffi.h"

#include "xla/ffi/api/c_api.h"

namespace jaxgru {
namespace ffi {

#define SAME_FIELD(ours, our_field, theirs, their_field)                      \
  static_assert(offsetof(ours, our_field) == offsetof(theirs, their_field) && \
                sizeof(ours::our_field) == sizeof(theirs::their_field))
#define SAME_SIZE(ours, theirs) static_assert(sizeof(ours) == sizeof(theirs))

// XLA takes handlers of older versions, of the same major one.
static_assert(kMajor == XLA_FFI_API_MAJOR && kMinor <= XLA_FFI_API_MINOR);

static_assert(static_cast<int>(kFlags) == XLA_FFI_DataType_PRED);
static_assert(static_cast<int>(kFloat32) == XLA_FFI_DataType_F32);
static_assert(static_cast<int>(kFloat64) == XLA_FFI_DataType_F64);
static_assert(static_cast<int>(kInvalidArgument) == XLA_FFI_Error_Code_INVALID_ARGUMENT);
static_assert(static_cast<int>(kResourceExhausted) == XLA_FFI_Error_Code_RESOURCE_EXHAUSTED);
static_assert(static_cast<int>(kFailedPrecondition) == XLA_FFI_Error_Code_FAILED_PRECONDITION);
static_assert(static_cast<int>(kExecute) == XLA_FFI_ExecutionStage_EXECUTE);
static_assert(kScalar == XLA_FFI_AttrType_SCALAR);
static_assert(kMetadata == XLA_FFI_Extension_Metadata);

using XlaExtension = decltype(XLA_FFI_Metadata_Extension::extension_base);
SAME_SIZE(Extension, XlaExtension);
SAME_FIELD(Extension, size, XlaExtension, struct_size);
SAME_FIELD(Extension, kind, XlaExtension, type);
SAME_FIELD(Extension, next, XlaExtension, next);

SAME_SIZE(Version, XLA_FFI_Api_Version);
SAME_FIELD(Version, size, XLA_FFI_Api_Version, struct_size);
SAME_FIELD(Version, extension, XLA_FFI_Api_Version, extension_start);
SAME_FIELD(Version, major, XLA_FFI_Api_Version, major_version);
SAME_FIELD(Version, minor, XLA_FFI_Api_Version, minor_version);

SAME_SIZE(Buffer, XLA_FFI_Buffer);
SAME_FIELD(Buffer, type, XLA_FFI_Buffer, dtype);
SAME_FIELD(Buffer, data, XLA_FFI_Buffer, data);
SAME_FIELD(Buffer, rank, XLA_FFI_Buffer, rank);
SAME_FIELD(Buffer, dimensions, XLA_FFI_Buffer, dims);

SAME_SIZE(Buffers, XLA_FFI_Args);
SAME_FIELD(Buffers, count, XLA_FFI_Args, size);
SAME_FIELD(Buffers, kinds, XLA_FFI_Args, types);
SAME_FIELD(Buffers, buffers, XLA_FFI_Args, args);
SAME_SIZE(Buffers, XLA_FFI_Rets);
SAME_FIELD(Buffers, count, XLA_FFI_Rets, size);
SAME_FIELD(Buffers, kinds, XLA_FFI_Rets, types);
SAME_FIELD(Buffers, buffers, XLA_FFI_Rets, rets);

SAME_FIELD(Text, data, XLA_FFI_ByteSpan, ptr);
SAME_FIELD(Text, length, XLA_FFI_ByteSpan, len);
SAME_FIELD(Scalar, type, XLA_FFI_Scalar, dtype);
SAME_FIELD(Scalar, value, XLA_FFI_Scalar, value);
SAME_SIZE(Attributes, XLA_FFI_Attrs);
SAME_FIELD(Attributes, count, XLA_FFI_Attrs, size);
SAME_FIELD(Attributes, kinds, XLA_FFI_Attrs, types);
SAME_FIELD(Attributes, names, XLA_FFI_Attrs, names);
SAME_FIELD(Attributes, values, XLA_FFI_Attrs, attrs);

SAME_FIELD(NewFailure, size, XLA_FFI_Error_Create_Args, struct_size);
SAME_FIELD(NewFailure, message, XLA_FFI_Error_Create_Args, message);
SAME_FIELD(NewFailure, code, XLA_FFI_Error_Create_Args, errc);
static_assert(offsetof(NewFailure, code) + sizeof(Code) == XLA_FFI_Error_Create_Args_STRUCT_SIZE);
static_assert(offsetof(Version, minor) + sizeof(int32_t) == XLA_FFI_Api_Version_STRUCT_SIZE);

SAME_FIELD(Api, version, XLA_FFI_Api, api_version);
SAME_FIELD(Api, internal, XLA_FFI_Api, internal_api);
SAME_FIELD(Api, fail, XLA_FFI_Api, XLA_FFI_Error_Create);

SAME_FIELD(Frame, extension, XLA_FFI_CallFrame, extension_start);
SAME_FIELD(Frame, api, XLA_FFI_CallFrame, api);
SAME_FIELD(Frame, stage, XLA_FFI_CallFrame, stage);
SAME_FIELD(Frame, operands, XLA_FFI_CallFrame, args);
SAME_FIELD(Frame, results, XLA_FFI_CallFrame, rets);
SAME_FIELD(Frame, attributes, XLA_FFI_CallFrame, attrs);

SAME_FIELD(Metadata, size, XLA_FFI_Metadata, struct_size);
SAME_FIELD(Metadata, version, XLA_FFI_Metadata, api_version);
SAME_FIELD(Metadata, traits, XLA_FFI_Metadata, traits);
SAME_FIELD(Metadata, state_type, XLA_FFI_Metadata, state_type_id);
SAME_FIELD(MetadataExtension, extension, XLA_FFI_Metadata_Extension, extension_base);
SAME_FIELD(MetadataExtension, metadata, XLA_FFI_Metadata_Extension, metadata);

}  // namespace ffi
}  // namespace jaxgru
