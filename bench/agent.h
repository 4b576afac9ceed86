#pragma once

/* argv: port of an agent that serves alone, its pid, seconds and commands of the long rows. The targets missed. */
int bench_agent(int argc, char **argv);
