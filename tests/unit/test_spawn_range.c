/* Ranges of user ids: inside one daemon, and between daemons on one host. */
#include "unit.h"

#include "spawn/range.h"

#include "base/sys.h"

#include <fcntl.h>
#include <ftw.h>
#include <sys/file.h>
#include <sys/stat.h>

struct fixture {
    char base[64];
    char claims[80];
    char data[3][96];
};

static void make_data_directory(struct fixture *f, int i)
{
    char path[128];

    snprintf(f->data[i], sizeof(f->data[i]), "%s/data%d", f->base, i);
    assert_int_equal(mkdir(f->data[i], 0755), 0);
    snprintf(path, sizeof(path), "%s/run", f->data[i]);
    assert_int_equal(mkdir(path, 0755), 0);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    snprintf(f->base, sizeof(f->base), "/tmp/berm-range-test.XXXXXX");
    if (!mkdtemp(f->base))
        return -1;
    snprintf(f->claims, sizeof(f->claims), "%s/claims", f->base);
    for (int i = 0; i < 3; i++)
        make_data_directory(f, i);
    *state = f;
    return 0;
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

    free(f);
    return rc;
}

/* Files of a data directory: its lock (held as long as the descriptor is open) or a sandbox. */
static int touch(const struct fixture *f, int data, const char *name)
{
    char path[192];
    int fd;

    snprintf(path, sizeof(path), "%s/run/%s", f->data[data], name);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    return fd;
}

/* A sandbox that is still there. */
static void leave_sandbox(const struct fixture *f, int data)
{
    close(touch(f, data, "0123456789abcdef.meta"));
}

static struct range_pool claim(const struct fixture *f, int data, uint32_t count)
{
    struct range_pool pool;
    struct berm_error err;

    if (range_claim(f->claims, f->data[data], count, &pool, &err) < 0)
        fail_msg("%s", err.message);
    return pool;
}

static void no_two_sandboxes_share_a_range(void **state)
{
    struct range_pool pool = claim(*state, 0, 1000);
    static bool seen[RANGE_BLOCKS * RANGE_BLOCK];
    uint32_t index, count = 0;

    while ((index = range_alloc(&pool)) != RANGE_NONE) {
        assert_true(index < ARRAY_SIZE(seen));
        assert_false(seen[index]);
        seen[index] = true;
        count++;
    }
    assert_int_equal(count, 2 * RANGE_BLOCK);
}

static void a_range_given_back_is_not_the_next_one_taken(void **state)
{
    struct range_pool pool = claim(*state, 0, 100);
    uint32_t first = range_alloc(&pool);

    range_free(&pool, first);
    assert_int_not_equal(range_alloc(&pool), first);
}

static void the_last_range_ends_below_the_invalid_user_id(void **state)
{
    uint64_t end = (uint64_t)range_uid_base(RANGE_BLOCKS * RANGE_BLOCK - 1) + RANGE_IDS;

    (void)state;
    assert_true(end <= UINT32_MAX);
    assert_true(range_uid_base(0) > INT32_MAX);
}

static void ranges_of_earlier_sandboxes_are_taken_over_once(void **state)
{
    struct range_pool pool = claim(*state, 0, 100);

    assert_true(range_take(&pool, 5));
    assert_false(range_take(&pool, 5));
    assert_false(range_take(&pool, RANGE_BLOCK + 5)); /* not in a block of ours */
    assert_false(range_take(&pool, RANGE_NONE));
    for (int i = 0; i < 100; i++)
        assert_int_not_equal(range_alloc(&pool), 5);
}

static void running_daemons_have_different_blocks(void **state)
{
    const struct fixture *f = *state;
    struct range_pool a = claim(f, 0, 600), b;
    _cleanup_close_ int lock = touch(f, 0, RANGE_DATA_LOCK);

    assert_int_equal(flock(lock, LOCK_EX), 0);
    b = claim(f, 1, 600);
    assert_int_equal(a.claimed & b.claimed, 0);
    assert_int_equal(__builtin_popcountll(b.claimed), 2);
}

static void a_daemon_that_comes_back_gets_the_same_blocks(void **state)
{
    const struct fixture *f = *state;
    struct range_pool before = claim(f, 0, 1);
    struct range_pool other, after;

    leave_sandbox(f, 0);
    other = claim(f, 1, 1);
    after = claim(f, 0, 1);

    assert_int_equal(before.claimed, after.claimed);
    assert_int_equal(after.claimed & other.claimed, 0);
}

static void blocks_of_a_daemon_that_is_gone_are_free_again(void **state)
{
    const struct fixture *f = *state;
    struct range_pool gone = claim(f, 0, 1), next = claim(f, 1, 1);

    assert_int_equal(gone.claimed, next.claimed);
}

static void unclaiming_gives_only_own_blocks_back(void **state)
{
    const struct fixture *f = *state;
    struct range_pool a = claim(f, 0, 1), b, c;

    leave_sandbox(f, 0);
    leave_sandbox(f, 1);
    b = claim(f, 1, 1);
    assert_int_equal(range_unclaim(f->claims, f->data[0], NULL), 0);
    c = claim(f, 2, 2 * RANGE_BLOCK);
    assert_int_equal(c.claimed & b.claimed, 0);
    assert_true(c.claimed & a.claimed);
}

static void more_sandboxes_than_the_host_has_ids_for_are_refused(void **state)
{
    const struct fixture *f = *state;
    struct range_pool pool;
    struct berm_error err;

    leave_sandbox(f, 0);
    claim(f, 0, 60 * RANGE_BLOCK);
    assert_int_equal(range_claim(f->claims, f->data[1], 4 * RANGE_BLOCK, &pool, &err), -1);
    assert_int_equal(err.errnum, EDQUOT);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(no_two_sandboxes_share_a_range),
        T(a_range_given_back_is_not_the_next_one_taken),
        T(the_last_range_ends_below_the_invalid_user_id),
        T(ranges_of_earlier_sandboxes_are_taken_over_once),
        T(running_daemons_have_different_blocks),
        T(a_daemon_that_comes_back_gets_the_same_blocks),
        T(blocks_of_a_daemon_that_is_gone_are_free_again),
        T(unclaiming_gives_only_own_blocks_back),
        T(more_sandboxes_than_the_host_has_ids_for_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
