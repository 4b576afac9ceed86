#include "cli/docker_stream.h"

#include "cli/own_terminal.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#define HEAD_MAX  8192
#define CHUNK     65536
#define FRAME     8
#define FRAME_MAX ((uint32_t)16 << 20)

static int write_out(int fd, struct str bytes)
{
    while (bytes.n > 0) {
        ssize_t n = RETRY_EINTR(write(fd, bytes.p, bytes.n));

        if (n < 0)
            return -1;
        bytes = (struct str){ bytes.p + n, bytes.n - (size_t)n };
    }
    return 0;
}

/* --- frames --- */

void docker_frames_init(struct docker_frames *frames)
{
    buf_init(&frames->in, (size_t)FRAME_MAX + DOCKER_ANSWER_MAX);
    frames->left = 0;
}

void docker_frames_free(struct docker_frames *frames)
{
    buf_free(&frames->in);
}

int docker_frames_write(struct docker_frames *frames, struct str piece)
{
    struct buf *in = &frames->in;

    if (buf_append_str(in, piece) < 0)
        return -1;
    for (;;) {
        const unsigned char *p = (const unsigned char *)buf_head(in);
        size_t n;

        if (frames->left == 0) {
            if (in->len < FRAME)
                return 0;
            frames->fd = p[0] == 2 ? STDERR_FILENO : frames->to_stdout;
            frames->left = (uint32_t)p[4] << 24 | (uint32_t)p[5] << 16 | (uint32_t)p[6] << 8 | p[7];
            if (p[0] > 2 || frames->left > FRAME_MAX)
                return -1;
            buf_consume(in, FRAME);
            continue;
        }
        n = MIN(in->len, (size_t)frames->left);
        if (n == 0)
            return 0;
        if (write_out(frames->fd, (struct str){ buf_head(in), n }) < 0)
            return -1;
        buf_consume(in, n);
        frames->left -= (uint32_t)n;
    }
}

/* --- our terminal --- */

static void tell_size(struct docker_cli *docker, const struct docker_stream *stream)
{
    uint16_t cols, rows;

    if (own_terminal_size(&cols, &rows)) {
        _cleanup_docker_call_ struct docker_call call =
            DOCKER_CALL("POST", docker_path(docker, "%s?h=%u&w=%u", stream->resize, rows, cols));

        docker_ask(docker, &call); /* the command may have ended: then there is nothing to say */
    }
}

/* --- the connection --- */

static int connect_socket(struct docker_cli *docker)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || str_copy(str_from(docker->socket), address.sun_path, sizeof(address.sun_path)) < 0 ||
        connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        docker_fail(docker, "cannot connect to unix://%s: %s", docker->socket, strerror(errno));
        close_fd(&fd);
    }
    return fd;
}

/* Reads up to the end of the head; what came behind it stays in `in`. The status, or -1. */
static int read_head(int fd, struct buf *in)
{
    const char *end;

    for (;;) {
        char *room = buf_reserve(in, CHUNK);
        ssize_t n = room ? RETRY_EINTR(read(fd, room, CHUNK)) : -1;

        if (n <= 0)
            return -1;
        buf_commit(in, (size_t)n);
        end = memmem(buf_head(in), in->len, "\r\n\r\n", 4);
        if (end)
            break;
        if (in->len > HEAD_MAX)
            return -1;
    }
    if (in->len < 12 || memcmp(buf_head(in), "HTTP/1.1 ", 9) != 0)
        return -1;
    int status = (buf_head(in)[9] - '0') * 100 + (buf_head(in)[10] - '0') * 10 + (buf_head(in)[11] - '0');
    buf_consume(in, (size_t)(end - buf_head(in)) + 4);
    return status;
}

static int put(const struct docker_stream *stream, struct docker_frames *frames, struct str bytes)
{
    return stream->resize ? write_out(stream->to_stdout, bytes) : docker_frames_write(frames, bytes);
}

/* Until the other side ends. Our stdin is copied as it comes; its end is passed on. */
static int copy_streams(struct docker_cli *docker, const struct docker_stream *stream, int fd,
                        const struct own_terminal *terminal, struct docker_frames *frames)
{
    struct pollfd polls[] = { { .fd = fd, .events = POLLIN },
                              { .fd = stream->with_stdin ? STDIN_FILENO : -1, .events = POLLIN },
                              { .fd = terminal->resized, .events = POLLIN } };
    char bytes[CHUNK];
    ssize_t n;

    if (!stream->with_stdin)
        shutdown(fd, SHUT_WR);
    for (;;) {
        if (RETRY_EINTR(poll(polls, ARRAY_SIZE(polls), -1)) < 0)
            return -1;
        if (polls[2].revents) {
            own_terminal_take_resize(terminal);
            tell_size(docker, stream);
        }
        if (polls[1].revents) {
            n = RETRY_EINTR(read(STDIN_FILENO, bytes, sizeof(bytes)));
            if (n <= 0 || write_out(fd, (struct str){ bytes, (size_t)n }) < 0) {
                shutdown(fd, SHUT_WR);
                polls[1].fd = -1;
            }
        }
        if (polls[0].revents) {
            n = RETRY_EINTR(read(fd, bytes, sizeof(bytes)));
            if (n <= 0)
                return n < 0 ? -1 : 0;
            if (put(stream, frames, (struct str){ bytes, (size_t)n }) < 0)
                return -1;
        }
    }
}

static int run_connected(struct docker_cli *docker, const struct docker_stream *stream, int fd, struct buf *in)
{
    struct docker_frames frames = { .to_stdout = stream->to_stdout };
    struct own_terminal terminal = { .resized = -EBADF };
    int rc;

    docker_frames_init(&frames);
    if (stream->resize && stream->with_stdin) {
        if (own_terminal_enter(&terminal) < 0)
            docker_fail(docker, "the terminal cannot be made raw: %s", strerror(errno));
        tell_size(docker, stream);
    }
    rc = put(stream, &frames, buf_str(in));
    if (rc == 0)
        rc = copy_streams(docker, stream, fd, &terminal, &frames);
    own_terminal_leave(&terminal);
    docker_frames_free(&frames);
    return rc;
}

int docker_stream_run(struct docker_cli *docker, const struct docker_stream *stream)
{
    _cleanup_close_ int fd = connect_socket(docker);
    char head[1024];
    struct buf in;
    int n, status, rc;

    if (fd < 0)
        return -1;
    n = snprintf(head, sizeof(head),
                 "POST %s HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
                 "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                 stream->path, strlen(stream->body), stream->body);
    if (n >= (int)sizeof(head))
        return docker_fail(docker, "the name is too long"), -1;
    buf_init(&in, CHUNK + HEAD_MAX);
    status = write_out(fd, (struct str){ head, (size_t)n }) == 0 ? read_head(fd, &in) : -1;
    if (status == 101) {
        rc = run_connected(docker, stream, fd, &in);
    } else {
        docker_fail(docker, "Error response from daemon: the stream was not started (%d) %.*s", status, (int)in.len,
                    in.len ? buf_head(&in) : "");
        rc = -1;
    }
    buf_free(&in);
    return rc;
}
