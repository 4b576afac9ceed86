#include "fifo.h"

#include "agent/agent.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

/* A pipe never holds more than this, so more than this was not all written before the command ended. */
#define DRAIN_MAX ((size_t)1024 * 1024)

#define NAME_ROOM 12 /* "/" and ten digits */
#define PLACES    4
#define NAMES_MAX 10000

/* The path becomes part of shell text, unquoted. */
static bool is_safe_path(const char *path)
{
    return path[0] == '/' &&
           path[strspn(path, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-")] == '\0';
}

static const char *place(const struct agent *agent, unsigned i)
{
    static const char *const places[PLACES] = { "/dev/shm", NULL, "/tmp", "" };
    const char *tmpdir = env_get(&agent->env, "TMPDIR");

    if (places[i])
        return places[i];
    return tmpdir && is_safe_path(tmpdir) ? tmpdir : "/tmp";
}

/*
 * The shortest name that is free, ".b", ".b1", ...: bash reads it twice for each command, a system call a byte. It
 * need not be hard to guess, for nobody else may enter the directory.
 */
static int make_directory_in(struct fifo_dir *dir, const char *parent)
{
    char path[FIFO_PATH_MAX - NAME_ROOM], script[FIFO_PATH_MAX], target[32];
    int rc = -1;

    errno = EEXIST;
    for (unsigned i = 0; rc < 0 && errno == EEXIST && i < NAMES_MAX; i++) {
        int n = i == 0 ? snprintf(path, sizeof(path), "%s/.b", parent)
                       : snprintf(path, sizeof(path), "%s/.b%u", parent, i);
        if (n < 0 || (size_t)n >= sizeof(path)) {
            errno = ENAMETOOLONG;
            return -1;
        }
        rc = mkdir(path, 0700);
    }
    if (rc < 0)
        return -1;
    snprintf(script, sizeof(script), "%s/" FIFO_DIR_SCRIPT, path);
    snprintf(target, sizeof(target), "/proc/self/fd/%d", CHILD_EXTRA_FD);
    if (symlink(target, script) < 0) {
        rmdir(path);
        return -1;
    }
    memcpy(dir->path, path, sizeof(path));
    return 0;
}

/* Begins where it was the last time. */
static int make_directory(struct agent *agent)
{
    struct fifo_dir *dir = &agent->fifos;

    for (unsigned i = 0; i < PLACES; i++) {
        if (make_directory_in(dir, place(agent, dir->place)) == 0)
            return 0;
        dir->place = (dir->place + 1) % PLACES;
    }
    return -1;
}

int fifo_dir_ensure(struct agent *agent)
{
    struct fifo_dir *dir = &agent->fifos;
    char script[FIFO_PATH_MAX + 8];
    struct stat st;

    snprintf(script, sizeof(script), "%s/" FIFO_DIR_SCRIPT, dir->path);
    if (dir->path[0] && lstat(script, &st) == 0 && S_ISLNK(st.st_mode))
        return 0;
    return make_directory(agent);
}

int fifo_dir_make(struct agent *agent, mode_t type, char out[FIFO_PATH_MAX])
{
    struct fifo_dir *dir = &agent->fifos;

    for (unsigned attempt = 0; attempt < 2 * PLACES; attempt++) {
        if (dir->path[0] == '\0' && make_directory(agent) < 0)
            return -1;
        snprintf(out, FIFO_PATH_MAX, "%.*s/%u", FIFO_PATH_MAX - NAME_ROOM, dir->path, dir->next++);
        if (mknod(out, type | 0600, 0) == 0)
            return 0;
        if (errno == EEXIST)
            continue;
        if (errno != ENOENT && errno != ENOTDIR) /* full or read-only: another place may do */
            dir->place = (dir->place + 1) % PLACES;
        dir->path[0] = '\0';
    }
    return -1;
}

void fifo_dir_remove(struct agent *agent)
{
    DIR *dir = agent->fifos.path[0] ? opendir(agent->fifos.path) : NULL;
    struct dirent *entry;

    if (agent->fifos.spare)
        fifo_pair_free(TAKE_PTR(agent->fifos.spare));
    if (!dir)
        return;
    while ((entry = readdir(dir)))
        if (entry->d_name[0] != '.')
            unlinkat(dirfd(dir), entry->d_name, 0);
    closedir(dir);
    rmdir(agent->fifos.path);
}

static void free_pair(struct loop_deferred *deferred)
{
    free(container_of(deferred, struct fifo_pair, free_later));
}

void fifo_pair_free(struct fifo_pair *pair)
{
    for (int i = 0; i < STREAM_COUNT; i++) {
        stream_close(&pair->streams[i]);
        if (pair->paths[i][0])
            unlink(pair->paths[i]);
        pair->paths[i][0] = '\0';
    }
    loop_defer(pair->agent->loop, &pair->free_later);
}

static void on_stream_end(struct stream *stream)
{
    struct fifo_pair *pair = container_of(stream - stream->index, struct fifo_pair, streams[0]);

    /* In use, no writer may mean that the command has redirected its output; a draining FIFO gets no new writer. */
    if (!pair->draining)
        return;
    stream_close(stream);
    if (pair->streams[STREAM_STDOUT].fd < 0 && pair->streams[STREAM_STDERR].fd < 0)
        fifo_pair_free(pair);
}

static int open_stream(struct fifo_pair *pair, int index)
{
    struct sink *sink = pair->streams[index].sink;
    int fd;

    fd = open(pair->paths[index], O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return -1;
    stream_open(&pair->streams[index], pair->agent->loop, fd, index, sink, on_stream_end);
    return 0;
}

int fifo_pair_open(struct fifo_pair *pair)
{
    return open_stream(pair, STREAM_STDOUT) < 0 || open_stream(pair, STREAM_STDERR) < 0 ? -1 : 0;
}

static int make_node(struct fifo_pair *pair, int index)
{
    if (fifo_dir_make(pair->agent, S_IFIFO, pair->paths[index]) == 0)
        return 0;
    pair->paths[index][0] = '\0';
    return -1;
}

static struct fifo_pair *make_pair(struct agent *agent)
{
    struct fifo_pair *pair = calloc(1, sizeof(*pair));

    if (!pair)
        return NULL;
    pair->agent = agent;
    pair->free_later.callback = free_pair;
    pair->streams[STREAM_STDOUT].fd = pair->streams[STREAM_STDERR].fd = -EBADF;
    if (make_node(pair, STREAM_STDOUT) < 0 || make_node(pair, STREAM_STDERR) < 0) {
        int saved = errno;
        fifo_pair_free(pair);
        errno = saved;
        return NULL;
    }
    return pair;
}

struct fifo_pair *fifo_pair_make(struct agent *agent)
{
    struct fifo_pair *pair = TAKE_PTR(agent->fifos.spare);

    if (pair && fifo_pair_usable(pair))
        return pair;
    if (pair)
        fifo_pair_free(pair);
    return make_pair(agent);
}

void fifo_pair_make_spare(struct agent *agent)
{
    if (!agent->fifos.spare)
        agent->fifos.spare = make_pair(agent); /* NULL: whoever needs one tries again, and is told why */
}

struct fifo_pair *fifo_pair_new(struct agent *agent)
{
    struct fifo_pair *pair = fifo_pair_make(agent);

    if (pair && fifo_pair_open(pair) < 0) {
        int saved = errno;
        fifo_pair_free(pair);
        errno = saved;
        return NULL;
    }
    return pair;
}

bool fifo_pair_usable(const struct fifo_pair *pair)
{
    struct stat st;

    /* They are removed together, with their directory. */
    return lstat(pair->paths[STREAM_STDOUT], &st) == 0 && S_ISFIFO(st.st_mode);
}

void fifo_pair_set_sink(struct fifo_pair *pair, struct sink *sink)
{
    for (int i = 0; i < STREAM_COUNT; i++)
        pair->streams[i].sink = sink;
}

int fifo_pair_watch(struct fifo_pair *pair)
{
    for (int i = 0; i < STREAM_COUNT; i++)
        if (stream_watch(&pair->streams[i]) < 0)
            return -1;
    return 0;
}

bool fifo_pair_finish(struct fifo_pair *pair)
{
    bool ended = true;

    for (int i = 0; i < STREAM_COUNT; i++) {
        stream_unwatch(&pair->streams[i]);
        if (stream_pump(&pair->streams[i], DRAIN_MAX, true) != STREAM_ENDED)
            ended = false;
    }
    return ended;
}

void fifo_pair_drain(struct fifo_pair *pair)
{
    bool open = false;

    fifo_pair_set_sink(pair, NULL);
    pair->draining = true;
    for (int i = 0; i < STREAM_COUNT; i++) {
        /* Asked directly: epoll does not report the end of a FIFO that no writer has ever opened. */
        if (stream_pump(&pair->streams[i], DRAIN_MAX, true) == STREAM_ENDED || stream_watch(&pair->streams[i]) < 0)
            stream_close(&pair->streams[i]); /* whoever writes to it then gets EPIPE */
        else
            open = true;
    }
    if (!open)
        fifo_pair_free(pair);
}
