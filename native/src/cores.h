// The cores of the machine that this process may use.
#pragma once

#include <pthread.h>

namespace jaxgru {

// How many there are: those of its affinity, or what the quota of its control group amounts to, or
// JAXGRU_NUM_THREADS if that is less. Found once.
int available_cores();

// The core that the calling thread runs on, or -1 if that is not known.
int present_core();

// Keeps a thread off one core if there are others.
void keep_off(int core, pthread_t thread);

}  // namespace jaxgru
