/* The record of a sandbox's FUSE connections, against a directory that looks like fusectl. */
#include "unit.h"

#include "base/sys.h"
#include "spawn/fuse.h"
#include "spawn/range.h"

#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>

#define INDEX 7u

struct fixture {
    char base[64];
    struct fuse_host host;
    struct fuse_record record;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    char path[128];

    if (geteuid() != 0) {
        fprintf(stderr, "skipped: needs root, to give files away\n");
        exit(77);
    }
    snprintf(f->base, sizeof(f->base), "/tmp/berm-fuse-record.XXXXXX");
    if (!mkdtemp(f->base))
        return -1;
    snprintf(path, sizeof(path), "%s/run", f->base);
    assert_int_equal(mkdir(path, 0700), 0);
    f->host.run_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    snprintf(path, sizeof(path), "%s/control", f->base);
    assert_int_equal(mkdir(path, 0700), 0);
    f->host.control_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    *state = f;
    return f->host.run_fd < 0 || f->host.control_fd < 0 ? -1 : 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    int rc = nftw(f->base, remove_one, 16, FTW_DEPTH | FTW_PHYS);

    close(f->host.run_fd);
    if (f->host.control_fd >= 0)
        close(f->host.control_fd);
    free(f);
    return rc;
}

static void connect_one(struct fixture *f, uint32_t number, uid_t owner)
{
    char name[24];
    int fd;

    snprintf(name, sizeof(name), "%u", number);
    assert_int_equal(mkdirat(f->host.control_fd, name, 0700), 0);
    snprintf(name, sizeof(name), "%u/abort", number);
    fd = openat(f->host.control_fd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0200);
    assert_true(fd >= 0);
    assert_int_equal(fchown(fd, owner, owner), 0);
    close(fd);
}

static void disconnect_one(struct fixture *f, uint32_t number)
{
    char name[24];

    snprintf(name, sizeof(name), "%u/abort", number);
    assert_int_equal(unlinkat(f->host.control_fd, name, 0), 0);
    snprintf(name, sizeof(name), "%u", number);
    assert_int_equal(unlinkat(f->host.control_fd, name, AT_REMOVEDIR), 0);
}

static bool was_aborted(const struct fixture *f, uint32_t number)
{
    char name[24];
    struct stat st;

    snprintf(name, sizeof(name), "%u/abort", number);
    assert_int_equal(fstatat(f->host.control_fd, name, &st, 0), 0);
    return st.st_size == 1;
}

/* As the broker does it for a mount. */
static int make(struct fixture *f, uint32_t index, uint32_t number)
{
    int errnum = fuse_record_read(&f->host, index, &f->record);

    if (errnum)
        return errnum;
    connect_one(f, number, range_uid_base(index) + 1000);
    return fuse_record_add(&f->host, &f->record, number);
}

static void what_lives_is_counted_and_what_has_ended_makes_room(void **state)
{
    struct fixture *f = *state;

    for (uint32_t i = 1; i <= FUSE_CONNECTIONS_MAX; i++)
        assert_int_equal(make(f, INDEX, 100 + i), 0);
    assert_int_equal(make(f, INDEX, 500), ENOSPC);
    assert_int_equal(make(f, INDEX + 1, 500), 0); /* another sandbox */
    disconnect_one(f, 103);
    disconnect_one(f, 164);
    assert_int_equal(make(f, INDEX, 501), 0);
    assert_int_equal(make(f, INDEX, 103), 0); /* a number that it had before */
    assert_int_equal(make(f, INDEX, 502), ENOSPC);
}

static void a_number_that_has_become_another_sandboxs_is_neither_counted_nor_aborted(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(make(f, INDEX, 41), 0);
    assert_int_equal(make(f, INDEX, 42), 0);
    assert_int_equal(make(f, INDEX, 43), 0);
    disconnect_one(f, 42);
    connect_one(f, 42, range_uid_base(INDEX + 1)); /* the ids beside its own */
    disconnect_one(f, 43);
    connect_one(f, 43, range_uid_base(INDEX) - 1);
    connect_one(f, 44, range_uid_base(INDEX)); /* its own, but not on record */
    fuse_record_abort(&f->host, INDEX);
    assert_true(was_aborted(f, 41));
    assert_false(was_aborted(f, 42));
    assert_false(was_aborted(f, 43));
    assert_false(was_aborted(f, 44));
    assert_int_equal(fuse_record_read(&f->host, INDEX, &f->record), 0);
    assert_int_equal(f->record.numbers[0], 41);
    assert_int_equal(f->record.numbers[1], 0);
    assert_int_equal(f->record.numbers[2], 0);
}

static void without_a_record_there_is_nothing_to_do(void **state)
{
    struct fixture *f = *state;

    connect_one(f, 41, range_uid_base(INDEX));
    fuse_record_abort(&f->host, INDEX);
    assert_false(was_aborted(f, 41));
    assert_int_equal(fuse_record_remove(f->host.run_fd, INDEX), 0);
    assert_int_equal(make(f, INDEX, 42), 0);
    assert_int_equal(fuse_record_remove(f->host.run_fd, INDEX), 0);
    fuse_record_abort(&f->host, INDEX);
    assert_false(was_aborted(f, 42));
}

static void a_record_that_was_cut_short_is_believed_as_far_as_it_goes(void **state)
{
    struct fixture *f = *state;
    char path[128];

    assert_int_equal(make(f, INDEX, 41), 0);
    assert_int_equal(make(f, INDEX, 42), 0);
    snprintf(path, sizeof(path), "%s/run/s%u.fuse", f->base, INDEX);
    assert_int_equal(truncate(path, 4), 0);
    fuse_record_abort(&f->host, INDEX);
    assert_true(was_aborted(f, 41));
    assert_false(was_aborted(f, 42));
    assert_int_equal(make(f, INDEX, 43), 0);
}

static void without_fusectl_nothing_is_mounted(void **state)
{
    struct fixture *f = *state;

    close_fd(&f->host.control_fd);
    assert_int_equal(fuse_record_read(&f->host, INDEX, &f->record), ENODEV);
}

static void only_names_of_records_are_taken_for_them(void **state)
{
    static const char *const others[] = { "s.fuse",
                                          "s7",
                                          "7.fuse",
                                          ".s7.fuse",
                                          "s7.fuse.new",
                                          ".fuse",
                                          "",
                                          "s7x.fuse",
                                          "s-7.fuse",
                                          "s7.sock",
                                          "s",
                                          "xs7.fuse",
                                          "s4294967295.fuse",
                                          "s99999999999999999999.fuse" };
    uint32_t index = 0;

    (void)state;
    assert_true(fuse_record_index("s7.fuse", &index));
    assert_int_equal(index, 7);
    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
        if (fuse_record_index(others[i], &index))
            fail_msg("%s", others[i]);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(what_lives_is_counted_and_what_has_ended_makes_room),
        T(a_number_that_has_become_another_sandboxs_is_neither_counted_nor_aborted),
        T(without_a_record_there_is_nothing_to_do),
        T(a_record_that_was_cut_short_is_believed_as_far_as_it_goes),
        T(without_fusectl_nothing_is_mounted),
        T(only_names_of_records_are_taken_for_them),
    };

    return cmocka_run_group_tests_name("FUSE record", tests, NULL, NULL);
}
