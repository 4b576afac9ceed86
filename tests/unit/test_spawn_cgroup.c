/* What is written to and read from the files of control groups, shown on ordinary directories with the same names.
 */
#include "unit.h"

#include "spawn/cgroup.h"

#include "base/sys.h"

#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>

static const struct spawn_limits limits = { .memory_bytes = 268435456, .cpu_millis = 1500, .pids = 64 };

static char base[64];

static int set_up(void **state)
{
    (void)state;
    snprintf(base, sizeof(base), "/tmp/berm-cgroup-test.XXXXXX");
    return mkdtemp(base) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static int tear_down(void **state)
{
    (void)state;
    return nftw(base, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static int directory(const char *name)
{
    char path[128];
    int fd;

    snprintf(path, sizeof(path), "%s/%s", base, name);
    if (mkdir(path, 0755) < 0)
        assert_int_equal(errno, EEXIST);
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static void put(int dirfd, const char *name, const char *text)
{
    _cleanup_close_ int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write_all(fd, text, strlen(text)), 0);
}

static void assert_file(int dirfd, const char *name, const char *text)
{
    char got[256];

    assert_true(read_small_file(dirfd, name, got, sizeof(got)) >= 0);
    assert_string_equal(got, text);
}

/* All three controllers in v2. */
static struct cgroup_host host_v2(void)
{
    return (struct cgroup_host){
        .v2_fd = directory("v2"), .v2_controllers = 7, .v1_fd = { -EBADF, -EBADF, -EBADF }, .path = "/berm/x"
    };
}

static struct cgroup_host host_v1(void)
{
    return (struct cgroup_host){ .v2_fd = -EBADF,
                                 .path = "/berm/x",
                                 .v1_fd = { directory("memory"), directory("pids"), directory("cpu") } };
}

static void v2_limits_are_written_in_the_words_of_v2(void **state)
{
    struct cgroup_host host = host_v2();
    _cleanup_close_ int group = -EBADF;

    (void)state;
    assert_int_equal(cgroup_create(&host, "s1"), 0);
    group = cgroup_open_v2(&host, "s1");
    put(group, "memory.max", "");
    put(group, "memory.swap.max", "");
    put(group, "pids.max", "");
    put(group, "cpu.max", "");
    assert_int_equal(cgroup_set_limits(&host, "s1", NULL, &limits), 0);
    assert_file(group, "memory.max", "268435456");
    assert_file(group, "memory.swap.max", "0");
    assert_file(group, "pids.max", "64");
    assert_file(group, "cpu.max", "150000 100000");
    cgroup_host_close(&host);
}

static void v1_limits_are_written_in_the_words_of_v1(void **state)
{
    struct cgroup_host host = host_v1();
    _cleanup_close_ int memory = directory("memory/s1");
    _cleanup_close_ int pids = directory("pids/s1");
    _cleanup_close_ int cpu = directory("cpu/s1");

    (void)state;
    put(memory, "memory.limit_in_bytes", "");
    put(memory, "memory.memsw.limit_in_bytes", "");
    put(pids, "pids.max", "");
    put(cpu, "cpu.cfs_quota_us", "");
    assert_int_equal(cgroup_set_limits(&host, "s1", NULL, &limits), 0);
    assert_file(memory, "memory.limit_in_bytes", "268435456");
    assert_file(memory, "memory.memsw.limit_in_bytes", "268435456");
    assert_file(pids, "pids.max", "64");
    assert_file(cpu, "cpu.cfs_quota_us", "150000");
    cgroup_host_close(&host);
}

static void only_limits_that_differ_are_written(void **state)
{
    struct cgroup_host host = host_v2();
    struct spawn_limits changed = limits;
    _cleanup_close_ int group = directory("v2/s1");

    (void)state;
    changed.pids = 65;
    put(group, "pids.max", ""); /* memory.max and cpu.max do not exist: touching them would fail */
    assert_int_equal(cgroup_set_limits(&host, "s1", &limits, &changed), 0);
    assert_file(group, "pids.max", "65");
    cgroup_host_close(&host);
}

static void a_limit_that_cannot_be_set_is_an_error(void **state)
{
    struct cgroup_host host = host_v2();

    (void)state;
    assert_int_equal(cgroup_create(&host, "s1"), 0);
    assert_int_equal(cgroup_set_limits(&host, "s1", NULL, &limits), -1);
    assert_int_equal(errno, ENOENT);
    cgroup_host_close(&host);
}

static void controllers_are_enabled_one_by_one_where_they_are_offered(void **state)
{
    _cleanup_close_ int group = directory("v2");

    (void)state;
    put(group, "cgroup.controllers", "cpuset cpu io memory\n");
    put(group, "cgroup.subtree_control", "memory\n");
    assert_int_equal(cgroup_v2_enable(group, 7), 1 << CGROUP_MEMORY | 1 << CGROUP_CPU);
    put(group, "cgroup.controllers", "\n");
    assert_int_equal(cgroup_v2_enable(group, 7), 0);
}

static void use_of_v2_is_read(void **state)
{
    struct cgroup_host host = host_v2();
    _cleanup_close_ int group = directory("v2/s1");
    struct cgroup_stat stat;

    (void)state;
    put(group, "memory.current", "4096\n");
    put(group, "memory.peak", "8192\n");
    put(group, "memory.events", "low 0\nhigh 0\nmax 3\noom 2\noom_kill 1\noom_group_kill 0\n");
    put(group, "pids.current", "5\n");
    put(group, "cpu.stat", "usage_usec 1234\nuser_usec 1000\nsystem_usec 234\n");
    assert_int_equal(cgroup_read_stat(&host, "s1", &stat), 0);
    assert_int_equal(stat.memory_bytes, 4096);
    assert_int_equal(stat.memory_peak_bytes, 8192);
    assert_int_equal(stat.pids, 5);
    assert_int_equal(stat.cpu_usec, 1234);
    assert_int_equal(stat.oom_kills, 1);
    cgroup_host_close(&host);
}

static void use_of_v1_is_read(void **state)
{
    struct cgroup_host host = host_v1();
    _cleanup_close_ int memory = directory("memory/s1");
    _cleanup_close_ int pids = directory("pids/s1");
    _cleanup_close_ int cpu = directory("cpu/s1");
    struct cgroup_stat stat;

    (void)state;
    put(memory, "memory.usage_in_bytes", "4096\n");
    put(memory, "memory.max_usage_in_bytes", "8192\n");
    put(memory, "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n");
    put(pids, "pids.current", "5\n");
    put(cpu, "cpuacct.usage", "7000\n");
    assert_int_equal(cgroup_read_stat(&host, "s1", &stat), 0);
    assert_int_equal(stat.memory_peak_bytes, 8192);
    assert_int_equal(stat.cpu_usec, 7);
    assert_int_equal(stat.oom_kills, 4);
    cgroup_host_close(&host);
}

static void killing_and_freezing_write_the_v2_files(void **state)
{
    struct cgroup_host host = host_v2();
    _cleanup_close_ int group = directory("v2/s1");

    (void)state;
    assert_false(cgroup_kill_supported(&host, "s1"));
    put(group, "cgroup.kill", "");
    put(group, "cgroup.freeze", "");
    assert_true(cgroup_kill_supported(&host, "s1"));
    assert_int_equal(cgroup_kill(&host, "s1"), 0);
    assert_int_equal(cgroup_freeze(&host, "s1", true), 0);
    assert_file(group, "cgroup.kill", "1");
    assert_file(group, "cgroup.freeze", "1");
    cgroup_host_close(&host);
}

static void without_v2_freezing_says_that_it_is_not_supported(void **state)
{
    struct cgroup_host host = host_v1();

    (void)state;
    assert_int_equal(cgroup_freeze(&host, "s1", true), -1);
    assert_int_equal(errno, EOPNOTSUPP);
    cgroup_host_close(&host);
}

static void groups_are_removed_everywhere_and_twice_without_harm(void **state)
{
    struct cgroup_host host = host_v1();

    (void)state;
    assert_int_equal(cgroup_create(&host, "s1"), 0);
    assert_int_equal(cgroup_remove(&host, "s1"), 0);
    assert_int_equal(faccessat(host.v1_fd[CGROUP_CPU], "s1", F_OK, 0), -1);
    assert_int_equal(cgroup_remove(&host, "s1"), 0);
    cgroup_host_close(&host);
}

static void a_process_elsewhere_is_not_taken_for_a_member(void **state)
{
    struct cgroup_host host = { .path = "/berm/x" };

    (void)state;
    assert_false(cgroup_has_process(&host, "s1", getpid()));
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(v2_limits_are_written_in_the_words_of_v2),
        T(v1_limits_are_written_in_the_words_of_v1),
        T(only_limits_that_differ_are_written),
        T(a_limit_that_cannot_be_set_is_an_error),
        T(controllers_are_enabled_one_by_one_where_they_are_offered),
        T(use_of_v2_is_read),
        T(use_of_v1_is_read),
        T(killing_and_freezing_write_the_v2_files),
        T(without_v2_freezing_says_that_it_is_not_supported),
        T(groups_are_removed_everywhere_and_twice_without_harm),
        T(a_process_elsewhere_is_not_taken_for_a_member),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
