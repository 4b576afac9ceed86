/*
 * capnweb_service.h - an object with a method for each thing that a Cap'n Web session can carry, for the unit
 * tests, the fuzzer and the peer that Node drives.
 */
#pragma once

#include "capnweb/capnweb.h"

/* What the session calls; lives as long as the program. */
struct capnweb_target *service_main(void);

/* The call of "never", which stays open until it is answered through this; NULL if there is none. */
struct capnweb_call *service_take_open_call(void);
/* How many counters and callbacks that were kept are alive. */
unsigned service_alive(void);
