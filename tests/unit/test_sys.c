#include "unit.h"

#include "base/sys.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

/*
 * A directory with a root inside it:
 *   outside.txt
 *   root/inside.txt  root/sub/deep.txt
 *   root/abs -> /inside.txt      root/up -> ../outside.txt    root/far -> ../../../../../../inside.txt
 *   root/out -> /proc/self/root  root/loop -> loop            root/dir -> sub
 */
static char top[] = "/tmp/berm-test-sys-XXXXXX";
static int root = -1;

static void make_file(int dirfd, const char *path, const char *text)
{
    _cleanup_close_ int fd = openat(dirfd, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write_all(fd, text, strlen(text)), 0);
}

static int set_up(void **state)
{
    _cleanup_close_ int dirfd = -EBADF;

    (void)state;
    if (!mkdtemp(top))
        return -1;
    dirfd = open(top, O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(mkdirat(dirfd, "root", 0700), 0);
    assert_int_equal(mkdirat(dirfd, "root/sub", 0700), 0);
    make_file(dirfd, "outside.txt", "outside");
    make_file(dirfd, "root/inside.txt", "inside");
    make_file(dirfd, "root/sub/deep.txt", "deep");
    assert_int_equal(symlinkat("/inside.txt", dirfd, "root/abs"), 0);
    assert_int_equal(symlinkat("../outside.txt", dirfd, "root/up"), 0);
    assert_int_equal(symlinkat("../../../../../../inside.txt", dirfd, "root/far"), 0);
    assert_int_equal(symlinkat("/proc/self/root", dirfd, "root/out"), 0);
    assert_int_equal(symlinkat("loop", dirfd, "root/loop"), 0);
    assert_int_equal(symlinkat("sub", dirfd, "root/dir"), 0);
    root = openat(dirfd, "root", O_DIRECTORY | O_CLOEXEC);
    return root < 0 ? -1 : 0;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static int tear_down(void **state)
{
    (void)state;
    close(root);
    return nftw(top, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static int open_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = 0;

    assert_non_null(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

/* --- paths --- */

static void assert_opens(int (*opener)(int, const char *, int, mode_t), const char *path, const char *text)
{
    _cleanup_close_ int fd = opener(root, path, O_RDONLY, 0);
    char got[32];
    ssize_t n;

    if (fd < 0)
        fail_msg("%s: %s", path, strerror(errno));
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    n = read_to_end(fd, got, sizeof(got));
    assert_str((struct str){ got, (size_t)n }, str_from(text));
}

static void assert_open_fails(int (*opener)(int, const char *, int, mode_t), const char *path, int errnum)
{
    int fd = opener(root, path, O_RDONLY, 0);

    if (fd >= 0 || errno != errnum)
        fail_msg("%s: wanted \"%s\", got %d \"%s\"", path, strerror(errnum), fd, strerror(errno));
}

static void open_in_root_follows_every_link_inside_the_root(void **state)
{
    (void)state;
    assert_opens(open_in_root, "inside.txt", "inside");
    assert_opens(open_in_root, "/inside.txt", "inside");
    assert_opens(open_in_root, "../../../inside.txt", "inside");
    assert_opens(open_in_root, "/../sub/../inside.txt", "inside");
    assert_opens(open_in_root, "sub/../../inside.txt", "inside");
    assert_opens(open_in_root, "abs", "inside");
    assert_opens(open_in_root, "far", "inside");
    assert_opens(open_in_root, "dir/deep.txt", "deep");
    assert_opens(open_in_root, "dir/../abs", "inside");
}

static void open_in_root_never_leaves_the_root(void **state)
{
    (void)state;
    assert_open_fails(open_in_root, "../outside.txt", ENOENT);
    assert_open_fails(open_in_root, "up", ENOENT);
    assert_open_fails(open_in_root, "/etc/passwd", ENOENT);
    assert_open_fails(open_in_root, "out/etc/passwd", ENOENT);
    assert_open_fails(open_in_root, "loop", ELOOP);
}

static void open_in_root_refuses_magic_links(void **state)
{
    _cleanup_close_ int host = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    char path[64];

    (void)state;
    snprintf(path, sizeof(path), "proc/self/fd/%d/inside.txt", root);
    assert_int_equal(open_in_root(host, path, O_RDONLY, 0), -1);
    assert_int_equal(errno, ELOOP);
}

static void open_beneath_refuses_links_and_the_way_up(void **state)
{
    (void)state;
    assert_opens(open_beneath, "inside.txt", "inside");
    assert_opens(open_beneath, "sub/deep.txt", "deep");
    assert_opens(open_beneath, "sub/../inside.txt", "inside");
    assert_open_fails(open_beneath, "../outside.txt", EXDEV);
    assert_open_fails(open_beneath, "sub/../../outside.txt", EXDEV);
    assert_open_fails(open_beneath, "/inside.txt", EXDEV);
    assert_open_fails(open_beneath, "abs", ELOOP);
    assert_open_fails(open_beneath, "dir/deep.txt", ELOOP);
}

static void files_are_made_with_their_mode_inside_only(void **state)
{
    int fd = open_in_root(root, "/../new.txt", O_WRONLY | O_CREAT | O_EXCL, 0640);
    struct stat st;

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_mode & 0777 & ~0640u, 0);
    close(fd);
    assert_int_equal(faccessat(root, "new.txt", F_OK, 0), 0);
    assert_int_equal(faccessat(root, "../new.txt", F_OK, 0), -1);
    /* A dangling link that points outside makes its file inside or nowhere. */
    assert_int_equal(symlinkat("../made.txt", root, "dangling"), 0);
    fd = open_in_root(root, "dangling", O_WRONLY | O_CREAT, 0600);
    close(fd);
    assert_int_equal(faccessat(root, "../made.txt", F_OK, 0), -1);
}

static void a_mode_does_no_harm_where_no_file_is_made(void **state)
{
    int fd = open_in_root(root, "sub", O_RDONLY | O_DIRECTORY, 0755);

    (void)state;
    assert_true(fd >= 0);
    close(fd);
}

static void a_file_under_a_lease_is_an_error_and_no_endless_loop(void **state)
{
    _cleanup_close_ int fd = openat(root, "inside.txt", O_RDWR | O_CLOEXEC);

    (void)state;
    signal(SIGIO, SIG_IGN); /* what the holder of a lease is sent when it is to give it up */
    if (fcntl(fd, F_SETLEASE, F_WRLCK) < 0)
        skip(); /* not every file system has leases */
    alarm(30);
    assert_int_equal(open_in_root(root, "inside.txt", O_RDONLY | O_NONBLOCK, 0), -1);
    assert_int_equal(errno, EAGAIN);
    alarm(0);
    assert_int_equal(fcntl(fd, F_SETLEASE, F_UNLCK), 0);
}

/* --- reading and writing --- */

static void read_to_end_takes_exactly_the_limit_and_not_more(void **state)
{
    char text[8];

    (void)state;
    for (size_t max = 0; max <= 8; max++) {
        _cleanup_close_ int fd = openat(root, "inside.txt", O_RDONLY | O_CLOEXEC);
        ssize_t n = read_to_end(fd, text, max);
        assert_int_equal(n, max < 6 ? -1 : 6);
        if (n < 0)
            assert_int_equal(errno, EFBIG);
        else
            assert_memory_equal(text, "inside", 6);
    }
}

static void small_files_are_read_and_written_whole(void **state)
{
    char text[8] = "xxxxxxx";

    (void)state;
    make_file(root, "small", "old-old");
    assert_int_equal(write_small_file(root, "small", "new"), 0);
    assert_int_equal(read_small_file(root, "small", text, sizeof(text)), 7);
    assert_string_equal(text, "new-old"); /* it does not truncate, as files of the kernel need no truncation */
    assert_int_equal(read_small_file(root, "small", text, 7), -1);
    assert_int_equal(errno, EFBIG);
    assert_int_equal(read_small_file(root, "absent", text, sizeof(text)), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(write_small_file(root, "absent", "x"), -1);
    assert_int_equal(errno, ENOENT);
}

static void write_all_goes_on_after_a_short_write(void **state)
{
    enum { N = 1 << 20 };
    int fds[2];
    char *text = malloc(N), *got = malloc(N);
    pid_t pid;

    (void)state;
    memset(text, 'x', N);
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    pid = fork();
    if (pid == 0) {
        close(fds[0]);
        _exit(write_all(fds[1], text, N) < 0);
    }
    close(fds[1]);
    assert_int_equal(read_to_end(fds[0], got, N), N);
    assert_memory_equal(got, text, N);
    close(fds[0]);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    free(text);
    free(got);
}

static void write_all_tells_that_nobody_reads(void **state)
{
    int fds[2];

    (void)state;
    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    close(fds[0]);
    assert_int_equal(write_all(fds[1], "x", 1), -1);
    assert_int_equal(errno, EPIPE);
    close(fds[1]);
}

static void nonblocking_is_set_beside_the_other_flags(void **state)
{
    _cleanup_close_ int fd = openat(root, "inside.txt", O_WRONLY | O_APPEND | O_CLOEXEC);

    (void)state;
    assert_int_equal(set_nonblocking(fd), 0);
    assert_int_equal(set_nonblocking(fd), 0);
    assert_int_equal(fcntl(fd, F_GETFL) & (O_NONBLOCK | O_APPEND), O_NONBLOCK | O_APPEND);
    assert_int_equal(set_nonblocking(-1), -1);
}

/* --- descriptors over a socket --- */

static int pair[2];

static int make_pair(void **state)
{
    (void)state;
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair);
}

static int close_pair(void **state)
{
    (void)state;
    close(pair[0]);
    close(pair[1]);
    return 0;
}

/* As an attacker sends: any number of descriptors, in one or more control messages. */
static void send_raw(size_t n, size_t nfds, size_t per_message)
{
    static char message[256];
    _Alignas(struct cmsghdr) char control[1024];
    struct iovec iov = { message, n };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control };
    size_t at = 0;

    memset(control, 0, sizeof(control));
    for (size_t sent = 0; sent < nfds; sent += per_message) {
        size_t count = MIN(per_message, nfds - sent);
        struct cmsghdr *c = (struct cmsghdr *)(void *)(control + at);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(count * sizeof(int));
        for (size_t i = 0; i < count; i++)
            memcpy(CMSG_DATA(c) + i * sizeof(int), &root, sizeof(int));
        at += CMSG_SPACE(count * sizeof(int));
    }
    msg.msg_controllen = at;
    assert_int_equal(sendmsg(pair[0], &msg, 0), n);
}

static void descriptors_arrive_beside_their_message_and_close_on_exec(void **state)
{
    int fds[FDS_MAX] = { root, pair[0], root, pair[1] }, got[FDS_MAX];
    char message[16];
    size_t count;
    struct stat a, b;

    (void)state;
    for (size_t n = 0; n <= FDS_MAX; n++) {
        assert_int_equal(send_fds(pair[0], "hello", 5, fds, n), 0);
        assert_int_equal(recv_fds(pair[1], message, sizeof(message), got, FDS_MAX, &count), 5);
        assert_memory_equal(message, "hello", 5);
        assert_int_equal(count, n);
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(fcntl(got[i], F_GETFD), FD_CLOEXEC);
            assert_int_equal(fstat(fds[i], &a), 0);
            assert_int_equal(fstat(got[i], &b), 0);
            assert_true(a.st_ino == b.st_ino && a.st_dev == b.st_dev);
            close(got[i]);
        }
    }
}

static void a_message_with_too_many_descriptors_is_refused_and_they_are_closed(void **state)
{
    int before = open_descriptors();
    int got[FDS_MAX];
    char message[256];
    size_t count = 77;

    (void)state;
    for (size_t sent = 1; sent <= 60; sent++) {
        for (size_t wanted = 0; wanted < MIN(sent, (size_t)FDS_MAX + 1); wanted++) {
            send_raw(1, sent, sent);
            assert_int_equal(recv_fds(pair[1], message, sizeof(message), got, MIN(wanted, (size_t)FDS_MAX), &count),
                             -1);
            assert_int_equal(errno, EPROTO);
            assert_int_equal(open_descriptors(), before);
        }
    }
    assert_int_equal(count, 77);
    send_raw(1, 1, 1);
    assert_int_equal(recv_fds(pair[1], message, sizeof(message), NULL, 0, NULL), -1);
    assert_int_equal(open_descriptors(), before);
}

static void descriptors_in_several_control_messages_are_counted_together(void **state)
{
    int before = open_descriptors();
    int got[FDS_MAX];
    char message[256];
    size_t count;

    (void)state;
    send_raw(1, 5, 1);
    assert_int_equal(recv_fds(pair[1], message, sizeof(message), got, FDS_MAX, &count), -1);
    assert_int_equal(errno, EPROTO);
    assert_int_equal(open_descriptors(), before);
}

static void a_message_longer_than_the_buffer_is_refused_and_its_descriptors_closed(void **state)
{
    int before = open_descriptors();
    int got[FDS_MAX];
    char message[256];
    size_t count;

    (void)state;
    send_raw(101, 2, 2);
    assert_int_equal(recv_fds(pair[1], message, 100, got, FDS_MAX, &count), -1);
    assert_int_equal(errno, EPROTO);
    assert_int_equal(open_descriptors(), before);
    send_raw(100, 0, 1);
    assert_int_equal(recv_fds(pair[1], message, 100, got, FDS_MAX, &count), 100);
    assert_int_equal(count, 0);
}

static void the_end_of_the_connection_is_zero_bytes(void **state)
{
    int got[FDS_MAX];
    char message[16];
    size_t count = 77;

    (void)state;
    shutdown(pair[0], SHUT_WR);
    assert_int_equal(recv_fds(pair[1], message, sizeof(message), got, FDS_MAX, &count), 0);
    assert_int_equal(count, 0);
}

static void sending_too_many_or_to_nobody_is_an_error(void **state)
{
    int fds[FDS_MAX + 1] = { root, root, root, root, root };

    (void)state;
    assert_int_equal(send_fds(pair[0], "x", 1, fds, FDS_MAX + 1), -1);
    assert_int_equal(errno, EINVAL);
    close(pair[1]);
    assert_int_equal(send_fds(pair[0], "x", 1, fds, 1), -1);
    assert_int_equal(errno, EPIPE);
    pair[1] = -1;
}

/* --- the rest --- */

static void a_socket_in_a_deep_directory_is_reached_through_its_descriptor(void **state)
{
    int dirfd = dup(root), listener, client;
    struct sockaddr_un address;
    socklen_t length;
    char name[101], too_long[109];

    (void)state;
    memset(name, 'd', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    memset(too_long, 'n', sizeof(too_long) - 1);
    too_long[sizeof(too_long) - 1] = '\0';
    for (int i = 0; i < 3; i++) {
        int inner;
        assert_int_equal(mkdirat(dirfd, name, 0700), 0);
        inner = openat(dirfd, name, O_DIRECTORY | O_CLOEXEC);
        assert_true(inner >= 0);
        close(dirfd);
        dirfd = inner;
    }
    assert_int_equal(unix_address_at(dirfd, too_long, &address, &length), -1);
    assert_int_equal(errno, ENAMETOOLONG);
    assert_int_equal(unix_address_at(dirfd, "a.sock", &address, &length), 0);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, length), 0);
    assert_int_equal(listen(listener, 1), 0);
    client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(client, (struct sockaddr *)&address, length), 0);
    assert_int_equal(faccessat(dirfd, "a.sock", F_OK, 0), 0);
    close(client);
    close(listener);
    close(dirfd);
}

static void a_pidfd_is_opened_and_signals_only_what_is_alive(void **state)
{
    pid_t pid = fork();
    int pidfd, status;

    (void)state;
    if (pid == 0)
        for (;;)
            pause();
    pidfd = pidfd_open_pid(pid);
    assert_true(pidfd >= 0);
    assert_int_equal(fcntl(pidfd, F_GETFD), FD_CLOEXEC);
    assert_int_equal(pidfd_signal(pidfd, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(pidfd_signal(pidfd, SIGKILL), -1);
    assert_int_equal(errno, ESRCH);
    close(pidfd);
    assert_int_equal(pidfd_open_pid(pid), -1);
}

static void timestamps_are_rfc_3339_with_milliseconds(void **state)
{
    static const struct {
        int64_t ms;
        const char *text;
    } cases[] = {
        { 0, "1970-01-01T00:00:00.000Z" },
        { 1, "1970-01-01T00:00:00.001Z" },
        { -1, "1969-12-31T23:59:59.999Z" },
        { -1000, "1969-12-31T23:59:59.000Z" },
        { 951782400123, "2000-02-29T00:00:00.123Z" },
        { 1767225599999, "2025-12-31T23:59:59.999Z" },
        { 253402300799999, "9999-12-31T23:59:59.999Z" },
    };
    char text[25];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        format_timestamp(cases[i].ms, text);
        assert_string_equal(text, cases[i].text);
    }
    format_timestamp(INT64_MAX, text);
    format_timestamp(INT64_MIN, text);
    assert_int_equal(strlen(text), 24);
}

#define WITH_PAIR(test) cmocka_unit_test_setup_teardown(test, make_pair, close_pair)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(open_in_root_follows_every_link_inside_the_root),
        cmocka_unit_test(open_in_root_never_leaves_the_root),
        cmocka_unit_test(open_in_root_refuses_magic_links),
        cmocka_unit_test(open_beneath_refuses_links_and_the_way_up),
        cmocka_unit_test(files_are_made_with_their_mode_inside_only),
        cmocka_unit_test(a_mode_does_no_harm_where_no_file_is_made),
        cmocka_unit_test(a_file_under_a_lease_is_an_error_and_no_endless_loop),
        cmocka_unit_test(read_to_end_takes_exactly_the_limit_and_not_more),
        cmocka_unit_test(small_files_are_read_and_written_whole),
        cmocka_unit_test(write_all_goes_on_after_a_short_write),
        cmocka_unit_test(write_all_tells_that_nobody_reads),
        cmocka_unit_test(nonblocking_is_set_beside_the_other_flags),
        WITH_PAIR(descriptors_arrive_beside_their_message_and_close_on_exec),
        WITH_PAIR(a_message_with_too_many_descriptors_is_refused_and_they_are_closed),
        WITH_PAIR(descriptors_in_several_control_messages_are_counted_together),
        WITH_PAIR(a_message_longer_than_the_buffer_is_refused_and_its_descriptors_closed),
        WITH_PAIR(the_end_of_the_connection_is_zero_bytes),
        WITH_PAIR(sending_too_many_or_to_nobody_is_an_error),
        cmocka_unit_test(a_socket_in_a_deep_directory_is_reached_through_its_descriptor),
        cmocka_unit_test(a_pidfd_is_opened_and_signals_only_what_is_alive),
        cmocka_unit_test(timestamps_are_rfc_3339_with_milliseconds),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
