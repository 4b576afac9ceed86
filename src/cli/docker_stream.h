/*
 * docker_stream.h - a connection that the daemon hands over (Upgrade: tcp) and our standard streams: our stdin goes
 * out on it as it is, what comes back is in frames of a stream number and a length, or raw if there is a terminal.
 */
#pragma once

#include "cli/docker.h"

struct docker_stream {
    const char *path;   /* of the POST that is upgraded */
    const char *body;   /* JSON */
    const char *resize; /* path of the call that tells the size of our terminal; NULL: the stream is framed */
    bool with_stdin;
    int to_stdout; /* the descriptor for stream 1 and for a terminal's output */
};

/*
 * Until the other side ends. If stdin is a terminal and the stream is one, it is raw meanwhile and its size is
 * passed on. 0, or -1: told.
 */
int docker_stream_run(struct docker_cli *docker, const struct docker_stream *stream);

/* Frames that come in pieces, to our stdout and stderr. */
struct docker_frames {
    struct buf in;
    uint32_t left; /* of the frame that is being written */
    int fd;        /* that it goes to */
    int to_stdout;
};

void docker_frames_init(struct docker_frames *frames); /* keeps to_stdout */
void docker_frames_free(struct docker_frames *frames);
int docker_frames_write(struct docker_frames *frames, struct str piece); /* -1: it cannot be written, or is none */
