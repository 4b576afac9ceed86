/* Tar streams that mean harm, through the confined rewriter: what comes out of it, told as text. */
#include "base/sys.h"
#include "image/confine.h"
#include "image/rewrite.h"
#include "image_archive.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct berm_error last_error;
static char listing[4096];

static void list_entry(struct archive *a, struct archive_entry *e)
{
    size_t used = strlen(listing);
    const char *link = archive_entry_symlink(e), *hard = archive_entry_hardlink(e);
    char text[64] = "";
    ssize_t n = archive_read_data(a, text, sizeof(text) - 1);

    text[MAX(n, 0)] = '\0';
    snprintf(listing + used, sizeof(listing) - used, "%s %o %d:%d%s%s%s%s %s\n", archive_entry_pathname(e),
             archive_entry_mode(e), (int)archive_entry_uid(e), (int)archive_entry_gid(e), link ? " -> " : "",
             link ? link : "", hard ? " = " : "", hard ? hard : "", text);
    assert_int_equal(archive_entry_xattr_count(e), 0);
}

static void list(int fd)
{
    struct archive *a = archive_read_new();
    struct archive_entry *e;

    listing[0] = '\0';
    lseek(fd, 0, SEEK_SET);
    archive_read_support_format_tar(a);
    assert_int_equal(archive_read_open_fd(a, fd, 10240), ARCHIVE_OK);
    while (archive_read_next_header(a, &e) == ARCHIVE_OK)
        list_entry(a, e);
    archive_read_free(a);
}

/* Rewrites and closes `from`; the result is in `listing`. */
static int rewrite_fd(int from, struct image_rewrite job)
{
    int to = memfd_create("out", MFD_CLOEXEC), rc;
    struct image_rewriting rewriting;

    memset(&last_error, 0, sizeof(last_error));
    listing[0] = '\0';
    job.from_fd = from;
    job.to_fd = to;
    assert_int_equal(image_rewrite_start(&job, &rewriting, &last_error), 0);
    rc = image_rewrite_finish(&rewriting, &last_error);
    if (rc == 0)
        list(to);
    close(from);
    close(to);
    return rc;
}

#define BELOW(where)                                                                                               \
    (struct image_rewrite)                                                                                         \
    {                                                                                                              \
        .prefix = (where), .mode = -1                                                                              \
    }
#define REWRITE(job, ...)                                                                                          \
    __extension__({                                                                                                \
        const struct member _members[] = { __VA_ARGS__ };                                                          \
        rewrite_fd(make_archive(_members, ARRAY_SIZE(_members), ARCHIVE_FILTER_NONE), (job));                      \
    })

static void names_move_below_the_prefix_and_owners_are_those_asked_for(void **state)
{
    struct image_rewrite job = { .prefix = "to", .strip = true, .uid = 12, .gid = 34, .mode = -1 };

    (void)state;
    assert_int_equal(REWRITE(job, { 'd', "src/", NULL, 0750, 7 }, { 'f', "src/a", "hello", 04755, 9, "user.note" },
                             { 'l', "src/l", "a" }, { 'h', "src/h", "src/a" }),
                     0);
    assert_string_equal(listing, "to/ 40750 12:34 \nto/a 104755 12:34 hello\nto/l 120644 12:34 -> a \n"
                                 "to/h 644 12:34 = to/a \n");
}

static void a_mode_is_for_all_but_links_and_a_single_file_keeps_its_name_in_a_directory(void **state)
{
    struct image_rewrite job = { .prefix = "to", .strip = true, .keep_single = true, .mode = 0600 };

    (void)state;
    assert_int_equal(REWRITE(job, { 'f', "one", "1", 0777 }, { 'l', "link", "one" }), 0);
    assert_string_equal(listing, "to/one 100600 0:0 1\nto/link 120644 0:0 -> one \n");
    job.keep_single = false;
    assert_int_equal(REWRITE(job, { 'f', "one", "1", 0777 }), 0);
    assert_string_equal(listing, "to 100600 0:0 1\n");
    job.prefix = "";
    assert_int_equal(REWRITE(job, { 'd', "src/", NULL }, { 'f', "src/a", "1" }), 0);
    assert_string_equal(listing, "a 100600 0:0 1\n");
}

static void absolute_names_and_targets_of_hard_links_end_below_the_prefix(void **state)
{
    (void)state;
    assert_int_equal(
        REWRITE(BELOW("to"), { 'f', "/etc/passwd", "x" }, { 'h', "h", "/etc/passwd" }, { 'f', "././/a//b", "y" }),
        0);
    assert_string_equal(listing,
                        "to/etc/passwd 100644 0:0 x\nto/h 644 0:0 = to/etc/passwd \nto/a/b 100644 0:0 y\n");
}

static void a_name_that_leads_up_refuses_the_stream(void **state)
{
    static const char *const names[] = { "..", "../x", "a/../../x", "/..", "a/..", "./../x" };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        assert_int_equal(REWRITE(BELOW("to"), { 'f', names[i], "x" }), -1);
        assert_int_equal(last_error.code, BERM_E_IMAGE_INVALID);
        assert_int_equal(REWRITE(BELOW("to"), { 'h', "h", names[i] }), -1);
        assert_int_equal(last_error.code, BERM_E_IMAGE_INVALID);
    }
}

static void devices_do_not_get_through(void **state)
{
    (void)state;
    assert_int_equal(REWRITE(BELOW("to"), { 'c', "null", NULL }, { 'b', "disk", NULL }, { 'f', "after", "x" }), 0);
    assert_string_equal(listing, "to/after 100644 0:0 x\n");
}

/* 10,000 bytes of zeros under a header that claims `size`. */
static int claimed(int64_t size, bool sparse)
{
    int fd = memfd_create("archive", MFD_CLOEXEC);
    struct archive *a = archive_write_new();
    struct archive_entry *e = archive_entry_new();

    archive_write_set_format_pax(a);
    archive_write_open_fd(a, fd);
    archive_entry_set_pathname(e, "large");
    archive_entry_set_mode(e, AE_IFREG | 0644);
    archive_entry_set_size(e, size);
    if (sparse)
        archive_entry_sparse_add_entry(e, 0, 1);
    archive_write_header(a, e);
    archive_write_data(a, "x", 1);
    archive_entry_free(e);
    if (sparse)
        archive_write_close(a);
    archive_write_free(a);
    lseek(fd, 0, SEEK_SET);
    return fd;
}

static void what_claims_to_be_huge_is_refused_before_a_byte_of_it_is_written(void **state)
{
    (void)state;
    assert_int_equal(rewrite_fd(claimed(9ll << 30, true), BELOW("to")), -1);
    assert_int_equal(last_error.code, BERM_E_IMAGE_INVALID);
    assert_non_null(strstr(last_error.message, "more than 8 GiB"));
    assert_int_equal(rewrite_fd(claimed(1ll << 60, true), BELOW("to")), -1);
    assert_int_equal(last_error.code, BERM_E_IMAGE_INVALID);
}

static void the_gaps_of_a_sparse_file_are_zeros(void **state)
{
    (void)state;
    assert_int_equal(rewrite_fd(claimed(5000000, true), BELOW("to")), 0);
    assert_string_equal(listing, "to/large 100644 0:0 x\n");
}

static void a_stream_that_ends_early_or_is_none_is_refused(void **state)
{
    char noise[4096];

    (void)state;
    memset(noise, 'n', sizeof(noise));
    assert_int_equal(rewrite_fd(make_file(noise, sizeof(noise)), BELOW("to")), -1);
    assert_int_equal(last_error.code, BERM_E_IMAGE_INVALID);
    const struct member member = { 'f', "file", "0123456789" };
    int fd = make_archive(&member, 1, ARCHIVE_FILTER_NONE);
    assert_int_equal(ftruncate(fd, 1024 + 4), 0);
    assert_int_equal(rewrite_fd(fd, BELOW("to")), -1);
    assert_int_equal(last_error.code, BERM_E_IMAGE_INVALID);
}

/* libarchive runs programs for some compressions, and knows more formats than tar. */
static void compressions_of_the_library_are_read_and_no_program_is_run_for_others(void **state)
{
    static const int taken[] = { ARCHIVE_FILTER_GZIP, ARCHIVE_FILTER_BZIP2, ARCHIVE_FILTER_XZ,
                                 ARCHIVE_FILTER_ZSTD };
    static const int refused[] = { ARCHIVE_FILTER_UU, ARCHIVE_FILTER_COMPRESS };
    const struct member member = { 'f', "file", "packed" };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(taken); i++) {
        assert_int_equal(rewrite_fd(make_archive(&member, 1, taken[i]), BELOW("to")), 0);
        assert_string_equal(listing, "to/file 100644 0:0 packed\n");
    }
    for (size_t i = 0; i < ARRAY_SIZE(refused); i++)
        assert_int_equal(rewrite_fd(make_archive(&member, 1, refused[i]), BELOW("to")), -1);
}

/* What a bug in the decoder could be used for: the process that has it can open nothing and start nothing. */
static void the_confined_process_dies_of_any_other_call(void **state)
{
    static const enum { OPEN, SOCKET, FORK, KILL } calls[] = { OPEN, SOCKET, FORK, KILL };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
        const char *step;
        int status;
        pid_t pid = fork();

        if (pid == 0) {
            if (confine_stream(NULL, 0, 1, &step) < 0)
                _exit(1);
            switch (calls[i]) {
            case OPEN:
                _exit(open("/etc/passwd", O_RDONLY | O_CLOEXEC) < 0 ? 2 : 3);
            case SOCKET:
                _exit(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) < 0 ? 2 : 3);
            case FORK:
                _exit(fork() < 0 ? 2 : 3);
            case KILL:
                _exit(kill(getppid(), 0) < 0 ? 2 : 3);
            }
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_move_below_the_prefix_and_owners_are_those_asked_for),
        cmocka_unit_test(a_mode_is_for_all_but_links_and_a_single_file_keeps_its_name_in_a_directory),
        cmocka_unit_test(absolute_names_and_targets_of_hard_links_end_below_the_prefix),
        cmocka_unit_test(a_name_that_leads_up_refuses_the_stream),
        cmocka_unit_test(devices_do_not_get_through),
        cmocka_unit_test(what_claims_to_be_huge_is_refused_before_a_byte_of_it_is_written),
        cmocka_unit_test(the_gaps_of_a_sparse_file_are_zeros),
        cmocka_unit_test(a_stream_that_ends_early_or_is_none_is_refused),
        cmocka_unit_test(compressions_of_the_library_are_read_and_no_program_is_run_for_others),
        cmocka_unit_test(the_confined_process_dies_of_any_other_call),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
