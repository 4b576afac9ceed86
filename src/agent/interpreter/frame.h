/*
 * frame.h - messages between the agent and an interpreter's driver (a kernel), over a socket that is neither its
 * stdin nor its stdout: four bytes of length (little-endian, of what follows), one byte that says what it is, the
 * rest. All but the first frame carry a JSON object.
 *
 *   to the kernel:  S source text       what the boot program is to run
 *                   I {cwd, env, language}  become the interpreter of a context
 *                   X {code}            execute
 *                   C {} | {signal}     stop that; to node only, before a SIGINT and behind it
 *   from it:        P {}                prepared: everything is imported
 *                   R {} | F {message}  ready | cannot be
 *                   r {text|html|...}   a result
 *                   e {ename, evalue, traceback}
 *                   s {}                a SIGINT may come, which a C has announced
 *                   d {}                the end of an execution
 *
 * Code of users runs in the kernel's process, so every frame from it is untrusted.
 */
#pragma once

#include "base/buf.h"

#define FRAME_MAX ((size_t)32 * 1024 * 1024) /* kind and payload */

enum frame_state { FRAME_INCOMPLETE, FRAME_COMPLETE, FRAME_BAD };

struct frame {
    char kind;
    struct str payload; /* borrowed from the buffer */
    size_t size;        /* bytes to consume */
};

/* Looks for a whole frame at the front of `in`. Consumes nothing. */
enum frame_state frame_peek(const struct buf *in, struct frame *ret);
/* Appends a frame. 0, or -1 with errno; nothing is appended then. */
int frame_append(struct buf *out, char kind, struct str payload);
