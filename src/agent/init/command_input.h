/*
 * command_input.h - the standard input of the container's command, for POST /berm/v1/supervise/input: the body goes
 * into it as it comes, with back-pressure. One writer at a time. It stays open behind a writer, for the next,
 * unless the command was started to have one only.
 */
#pragma once

#include "base/base.h"

struct agent;
struct request;

struct command_input {
    bool open, once;        /* as the command was started */
    struct request *writer; /* whose body is being written; NULL: nobody */
};

/* The pipe takes more. */
void command_input_drained(struct agent *agent);
/* The command has ended: so has its writer. */
void command_input_end(struct agent *agent);
