#include "image/unpack_child.h"

#include "base/sys.h"
#include "image/confine.h"
#include "image/rewrite.h"
#include "image/stage.h"
#include "image/tool.h"
#include "image/unpack_disk.h"
#include "image/unpack_tar.h"

#include <fcntl.h>
#include <locale.h>
#include <openssl/evp.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define CHUNK (256u << 10)

/* What the child says when it is done. The parent believes the sizes of the fields and nothing else. */
struct verdict {
    uint32_t failed;
    uint32_t code;
    char message[200];
    struct image_import_report report;
};

struct child {
    pid_t pid;
    int data;    /* the archive's bytes, to the child */
    int verdict; /* struct verdict, from it */
};

static la_ssize_t read_data(struct archive *reader, void *arg, const void **ret_bytes)
{
    static char bytes[CHUNK];
    const int *fd = arg;
    (void)reader;
    *ret_bytes = bytes;
    return (la_ssize_t)RETRY_EINTR(read(*fd, bytes, sizeof(bytes)));
}

static int unpack_confined(const struct unpack_job *job, int data, struct image_import_report *report,
                           struct berm_error *err)
{
    struct unpack_disk disk;
    struct archive *reader = unpack_reader_new();
    if (!reader)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "unpacking");
    int root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "unpacking");
    if (unpack_disk_init(&disk, root, job->layer, report, err) < 0)
        return -1;
    if (archive_read_open(reader, &data, NULL, read_data, NULL) != ARCHIVE_OK)
        return berm_fail(err, BERM_E_IMAGE_INVALID, 0, "this is not a tar archive: %s",
                         archive_error_string(reader) ? archive_error_string(reader) : "it is damaged");
    if (unpack_archive(reader, job->layer, &disk.sink, report, err) < 0)
        return -1;
    /* No clean-up on the way out: the process ends. */
    return unpack_disk_finish(&disk, err);
}

static void begin_child(void)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    /* Names are bytes: in this locale libarchive passes UTF-8 through and does not need to convert. */
    setlocale(LC_CTYPE, "C.UTF-8");
}

static _Noreturn void end_child(int verdict_fd, int rc, const struct berm_error *error,
                                const struct image_import_report *report)
{
    struct verdict verdict = { .failed = rc < 0, .code = (uint32_t)error->code, .report = *report };
    snprintf(verdict.message, sizeof(verdict.message), "%.199s", error->message);
    (void)write_all(verdict_fd, &verdict, sizeof(verdict));
    _exit(0);
}

static _Noreturn void run_child(const struct unpack_job *job, int data, int verdict_fd,
                                struct image_import_report report)
{
    const int keep[] = { MIN(data, verdict_fd), MAX(data, verdict_fd) };
    const char *step = "";
    struct berm_error error = { 0 };
    int rc;
    begin_child();
    if (confine_unpacker(job->root_fd, keep, ARRAY_SIZE(keep), &step) < 0)
        rc = berm_fail(&error, BERM_E_SYSTEM, errno, "confining the unpacker: %s", step);
    else
        rc = unpack_confined(job, data, &report, &error);
    end_child(verdict_fd, rc, &error, &report);
}

static int start(const struct unpack_job *job, const struct image_import_report *report, struct child *ret,
                 struct berm_error *err)
{
    int data[2], verdict[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, data) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "starting the unpacker");
    _cleanup_close_ int data_here = data[0];
    _cleanup_close_ int data_there = data[1];
    if (pipe2(verdict, O_CLOEXEC) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "starting the unpacker");
    _cleanup_close_ int verdict_here = verdict[0];
    _cleanup_close_ int verdict_there = verdict[1];
    pid_t pid = fork();
    if (pid < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "starting the unpacker");
    if (pid == 0)
        run_child(job, data_there, verdict_there, *report);
    *ret = (struct child){ pid, TAKE_FD(data_here), TAKE_FD(verdict_here) };
    return 0;
}

/* 0 when all is sent or the child wants no more of it (then *open is cleared): the rest is still to be hashed. */
static int send_chunk(struct child *child, bool *open, const uint8_t *bytes, size_t n, struct berm_error *err)
{
    while (*open && n > 0) {
        if (tool_wait(child->data, POLLOUT) < 0)
            return berm_fail(err, BERM_E_TIMED_OUT, 0, "unpacking was interrupted");
        ssize_t sent = RETRY_EINTR(send(child->data, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT));
        if (sent < 0 && (errno == EPIPE || errno == ECONNRESET))
            *open = false;
        else if (sent < 0 && errno != EAGAIN)
            return berm_fail(err, BERM_E_SYSTEM, errno, "passing the archive on");
        bytes += MAX(sent, 0);
        n -= (size_t)MAX(sent, 0);
    }
    return 0;
}

static int feed(const struct unpack_job *job, struct child *child, EVP_MD_CTX *digest, struct berm_error *err)
{
    bool open = true;
    uint64_t done = 0;
    _cleanup_free_ uint8_t *bytes = malloc(CHUNK);
    if (!bytes)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "unpacking");
    for (;;) {
        ssize_t n = RETRY_EINTR(read(job->source_fd, bytes, CHUNK));
        if (n < 0)
            return berm_fail(err, BERM_E_SYSTEM, errno, "reading the archive");
        if (n == 0)
            break;
        if (EVP_DigestUpdate(digest, bytes, (size_t)n) != 1)
            return berm_fail(err, BERM_E_INTERNAL, 0, "SHA-256");
        done += (uint64_t)n;
        if (job->sha256 && done > job->source_size)
            break;
        if (send_chunk(child, &open, bytes, (size_t)n, err) < 0)
            return -1;
        if (job->source_size > 0)
            image_report(job->progress, job->stage, (int)(MIN(done, job->source_size) * 100 / job->source_size),
                         NULL);
        if (!open && !job->sha256)
            break;
    }
    shutdown(child->data, SHUT_WR);
    uint8_t computed[IMAGE_DIGEST_BYTES];
    if (EVP_DigestFinal_ex(digest, computed, NULL) != 1)
        return berm_fail(err, BERM_E_INTERNAL, 0, "SHA-256");
    if (job->sha256 && (done != job->source_size || memcmp(computed, job->sha256, sizeof(computed)) != 0))
        return berm_fail(err, BERM_E_IMAGE_INVALID, 0,
                         "a layer's content does not have the digest and size it should");
    return 0;
}

static int read_verdict(struct child *child, struct verdict *ret, struct berm_error *err)
{
    size_t got = 0;
    while (got < sizeof(*ret)) {
        if (tool_wait(child->verdict, POLLIN) < 0)
            return berm_fail(err, BERM_E_TIMED_OUT, 0, "unpacking was interrupted");
        ssize_t n = RETRY_EINTR(read(child->verdict, (char *)ret + got, sizeof(*ret) - got));
        if (n <= 0)
            return berm_fail(err, BERM_E_IMAGE_INVALID, 0, "the unpacker died of this archive");
        got += (size_t)n;
    }
    return 0;
}

static int judge(const struct verdict *verdict, struct image_import_report *report, struct berm_error *err)
{
    char message[sizeof(verdict->message)];
    size_t n = strnlen(verdict->message, sizeof(message) - 1);
    if (!verdict->failed) {
        *report = verdict->report;
        return 0;
    }
    /* It may quote names of members: nothing of them may reach a terminal but printable characters. */
    for (size_t i = 0; i < n; i++)
        message[i] = verdict->message[i] >= ' ' && verdict->message[i] < 0x7f ? verdict->message[i] : '?';
    message[n] = '\0';
    return berm_fail(err, verdict->code == BERM_E_SYSTEM ? BERM_E_SYSTEM : BERM_E_IMAGE_INVALID, 0, "%s", message);
}

int unpack_stream(const struct unpack_job *job, struct image_import_report *report, struct berm_error *err)
{
    struct child child = { -1, -EBADF, -EBADF };
    struct verdict verdict;
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    if (!digest || EVP_DigestInit_ex(digest, EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free(digest);
        return berm_fail(err, BERM_E_INTERNAL, 0, "SHA-256");
    }
    int rc = start(job, report, &child, err);
    if (rc == 0) {
        rc = feed(job, &child, digest, err);
        if (rc == 0)
            rc = read_verdict(&child, &verdict, err);
        if (rc == 0)
            rc = judge(&verdict, report, err);
        close_fd(&child.data);
        close_fd(&child.verdict);
        kill(child.pid, SIGKILL);
        RETRY_EINTR(waitpid(child.pid, NULL, 0));
    }
    EVP_MD_CTX_free(digest);
    return rc;
}

/* --- from one tar stream to another --- */

static int rewrite_confined(const struct image_rewrite *job, struct image_import_report *report,
                            struct berm_error *err)
{
    struct unpack_tar tar;
    int from = job->from_fd;
    struct archive *reader = unpack_reader_new();
    if (!reader)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "unpacking");
    if (unpack_tar_init(&tar, job, err) < 0)
        return -1;
    if (archive_read_open(reader, &from, NULL, read_data, NULL) != ARCHIVE_OK)
        return berm_fail(err, BERM_E_IMAGE_INVALID, 0, "this is not a tar archive: %s",
                         archive_error_string(reader) ? archive_error_string(reader) : "it is damaged");
    if (unpack_archive(reader, false, &tar.sink, report, err) < 0)
        return -1;
    return unpack_tar_finish(&tar, err);
}

static int compare_fds(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

static _Noreturn void run_rewriter(const struct image_rewrite *job, int verdict_fd)
{
    int keep[] = { job->from_fd, job->to_fd, verdict_fd };
    struct image_import_report report = { 0 };
    const char *step = "";
    struct berm_error error = { 0 };
    int rc;
    begin_child();
    signal(SIGXFSZ, SIG_IGN); /* the limit is an error like a full disk */
    qsort(keep, ARRAY_SIZE(keep), sizeof(keep[0]), compare_fds);
    if (confine_stream(keep, ARRAY_SIZE(keep), IMAGE_REWRITE_BYTES_MAX, &step) < 0)
        rc = berm_fail(&error, BERM_E_SYSTEM, errno, "confining the unpacker: %s", step);
    else
        rc = rewrite_confined(job, &report, &error);
    end_child(verdict_fd, rc, &error, &report);
}

int image_rewrite_start(const struct image_rewrite *job, struct image_rewriting *ret, struct berm_error *err)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "starting the unpacker");
    *ret = (struct image_rewriting){ fork(), fds[0] };
    if (ret->pid == 0)
        run_rewriter(job, fds[1]);
    close_fd(&fds[1]);
    if (ret->pid > 0)
        return 0;
    close_fd(&ret->verdict_fd);
    return berm_fail(err, BERM_E_SYSTEM, errno, "starting the unpacker");
}

int image_rewrite_finish(struct image_rewriting *rewriting, struct berm_error *err)
{
    struct child child = { rewriting->pid, -EBADF, rewriting->verdict_fd };
    struct image_import_report report;
    struct verdict verdict;
    int rc = read_verdict(&child, &verdict, err);
    if (rc == 0)
        rc = judge(&verdict, &report, err);
    close_fd(&rewriting->verdict_fd);
    kill(child.pid, SIGKILL);
    RETRY_EINTR(waitpid(child.pid, NULL, 0));
    return rc;
}
