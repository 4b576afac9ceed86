/* interpreter.h - the figures of the code interpreter. */
#pragma once

/* PORT RUNS, of a bermd whose sandboxes have Python and node. Returns how many targets were missed. */
int bench_interpreter(int argc, char **argv);
