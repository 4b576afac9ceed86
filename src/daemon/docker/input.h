/*
 * input.h - the standard input of a container's own command (OpenStdin), from an attached client: what it sends
 * waits until the command runs, then goes to the agent as the body of one call, with back-pressure. One client at a
 * time; with StdinOnce the input ends with it, else it stays open for the next.
 */
#pragma once

#include "daemon/docker/engine.h"

struct container_input;
struct hijack;

/* NULL with *err: the container has no such input, or somebody else has it. Belongs to the follower of the log. */
struct container_input *container_input_new(struct container *container, struct berm_error *err);
void container_input_free(struct container_input *input); /* NULL is allowed */
/* The client's connection. Bytes may have come before. */
void container_input_begin(struct container_input *input, struct hijack *stream);
void container_input_take(struct container_input *input, struct str bytes);
void container_input_end(struct container_input *input); /* the client sends no more */
/* The command runs. */
void container_input_started(struct container *container);
