// Compiled once for each instruction set, with JAXGRU_KERNEL the name of the table to define.
#include "kernel.h"

#include "forward.h"
#include "linear.h"
#include "pullback_schedule.h"
#include "schedule.h"
#include "stack.h"

namespace jaxgru {

#define JAXGRU_TEXT_OF(name) #name
#define JAXGRU_TEXT(name) JAXGRU_TEXT_OF(name)

extern const Kernel JAXGRU_KERNEL;

const Kernel JAXGRU_KERNEL = {
    JAXGRU_TEXT(JAXGRU_KERNEL),
    {run_loop<Forward<float>>, run_loop<Linear<float>>, run_pullback<float>, open_stream<float>},
    {run_loop<Forward<double>>, run_loop<Linear<double>>, run_pullback<double>,
     open_stream<double>},
};

}  // namespace jaxgru
