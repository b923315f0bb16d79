"""jaxgru against every other GRU, on one machine in one run; see the README beside this file."""
