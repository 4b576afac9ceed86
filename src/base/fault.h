/*
 * fault.h - named points at which a test can have the process killed: FAULT_POINT("create.stored") in the source,
 * and BERM_FAULT_AT=create.stored in the environment sends SIGKILL to the process when it gets there. tests/fault
 * walks all of them. Without the variable a point is one predictable branch; code in a sandbox or a client cannot
 * set it.
 *
 * Several points are separated by commas. Each strikes once, also when the process that it killed is forked anew.
 * "create.stored/stop" sends SIGSTOP instead, so that the test can end another process at that moment.
 */
#pragma once

/* Reads the environment once; called first thing in main(). */
void fault_setup(void);
void fault_hit(const char *point);

extern const char *fault_wanted;

#define FAULT_POINT(name)                                                                                          \
    do {                                                                                                           \
        if (__builtin_expect(fault_wanted != 0, 0))                                                                \
            fault_hit(name);                                                                                       \
    } while (0)
