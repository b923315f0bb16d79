#include "stream.h"

namespace jaxgru {

Stream::~Stream() = default;

}  // namespace jaxgru
