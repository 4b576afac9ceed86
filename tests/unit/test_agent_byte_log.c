#include "agent/process/byte_log.h"
#include "agent/process/process_mark.h"
#include "agent/process/process_tree.h"
#include "base/signal_name.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define KIB ((uint64_t)1024)

/* Byte `offset` of the text that all logs here are filled with. */
static char byte_at(uint64_t offset)
{
    return (char)(offset * 2654435761U >> 13);
}

static void append(struct byte_log *log, uint64_t n)
{
    char piece[5000];

    while (n > 0) {
        size_t run = (size_t)MIN(n, (uint64_t)sizeof(piece));
        for (size_t i = 0; i < run; i++)
            piece[i] = byte_at(log->end + i);
        byte_log_append(log, piece, run);
        byte_log_settle(log);
        n -= run;
    }
}

/* Reads all that is kept, in pieces of `size`, and holds it against the text. */
static void check(struct byte_log *log, size_t size)
{
    char room[8192];

    for (uint64_t at = log->start; at < log->end;) {
        const char *p;
        size_t n = byte_log_read(log, at, room, size, &p);
        assert_true(n > 0 && n <= size);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(p[i], byte_at(at + i));
        at += n;
    }
}

static void a_log_keeps_what_it_is_given_in_memory_and_in_files(void **state)
{
    static const uint64_t sizes[] = { 0, 1, 511, 16 * KIB, 16 * KIB + 1, 300 * KIB, 3000 * KIB };
    struct byte_store store;

    (void)state;
    byte_store_init(&store, NULL, 64 * KIB * KIB, 256 * KIB);
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        struct byte_log log;
        byte_log_init(&log, &store, 16 * KIB * KIB);
        append(&log, sizes[i]);
        assert_int_equal(log.start, 0);
        assert_int_equal(log.end, sizes[i]);
        assert_int_equal(log.where, sizes[i] > 16 * KIB ? BYTE_LOG_FILE : BYTE_LOG_MEMORY);
        check(&log, 4096);
        byte_log_seal(&log);
        byte_log_seal(&log);
        check(&log, 777);
        assert_int_equal(log.end - log.start, sizes[i]);
        byte_log_free(&log);
        byte_log_free(&log);
    }
    assert_int_equal(store.file_used, 0);
    assert_int_equal(store.memory_used, 0);
    byte_store_free(&store);
}

static void past_its_limit_a_log_loses_the_oldest_bytes_and_says_so(void **state)
{
    struct byte_store store;
    struct byte_log log;

    (void)state;
    byte_store_init(&store, NULL, 64 * KIB * KIB, 256 * KIB);
    byte_log_init(&log, &store, 1); /* which is raised to the least */
    append(&log, BYTE_LOG_LIMIT_MIN);
    assert_int_equal(log.start, 0);
    for (unsigned i = 1; i < 50; i++) {
        append(&log, 7001);
        assert_int_equal(log.end, BYTE_LOG_LIMIT_MIN + i * 7001);
        assert_int_equal(log.end - log.start, BYTE_LOG_LIMIT_MIN);
        check(&log, 8192);
    }
    assert_int_equal(store.file_used, BYTE_LOG_LIMIT_MIN);
    byte_log_seal(&log);
    assert_int_equal(log.where, BYTE_LOG_ARCHIVE);
    check(&log, 8192);
    byte_log_free(&log);
    byte_store_free(&store);
}

static void where_the_files_may_not_grow_the_ring_stays_as_it_is(void **state)
{
    struct byte_store store;
    struct byte_log log, other;

    (void)state;
    byte_store_init(&store, NULL, 200 * KIB, 256 * KIB);
    byte_log_init(&log, &store, 1000 * KIB);
    append(&log, 500 * KIB);
    assert_int_equal(log.end, 500 * KIB);
    assert_int_equal(log.end - log.start, 200 * KIB);
    check(&log, 4096);
    /* Nothing is left for this one: its bytes are counted and lost, and it is not an error. */
    byte_log_init(&other, &store, 1000 * KIB);
    append(&other, 100 * KIB);
    assert_int_equal(other.end, 100 * KIB);
    check(&other, 4096);
    byte_log_free(&log);
    byte_log_free(&other);
    assert_int_equal(store.file_used, 0);
    byte_store_free(&store);
}

static struct byte_log *to_reclaim;

static bool reclaim_one(struct byte_store *store)
{
    struct byte_log *log = to_reclaim;

    (void)store;
    to_reclaim = NULL;
    if (log)
        byte_log_drop(log);
    return log != NULL;
}

static void what_is_wanted_less_goes_first(void **state)
{
    struct byte_store store;
    struct byte_log old, fresh;

    (void)state;
    byte_store_init(&store, NULL, 300 * KIB, 256 * KIB);
    store.reclaim = reclaim_one;
    byte_log_init(&old, &store, 1000 * KIB);
    append(&old, 200 * KIB);
    byte_log_seal(&old);
    to_reclaim = &old;
    byte_log_init(&fresh, &store, 1000 * KIB);
    append(&fresh, 250 * KIB);
    assert_int_equal(fresh.start, 0);
    check(&fresh, 4096);
    assert_int_equal(old.start, 200 * KIB);
    assert_int_equal(old.end, 200 * KIB);
    append(&fresh, 100 * KIB); /* nothing is left to go: the ring is what there is */
    assert_int_equal(fresh.end - fresh.start, 300 * KIB);
    check(&fresh, 4096);
    byte_log_free(&old);
    byte_log_free(&fresh);
    assert_int_equal(store.file_used, 0);
    byte_store_free(&store);
}

static void many_logs_that_have_ended_take_neither_memory_nor_descriptors(void **state)
{
    enum { COUNT = 600 };
    static struct byte_log logs[COUNT];
    struct byte_store store;
    int before = dup(0), after;

    (void)state;
    close(before);
    byte_store_init(&store, NULL, 64 * KIB * KIB, 100 * KIB);
    for (size_t i = 0; i < COUNT; i++) {
        byte_log_init(&logs[i], &store, 1000 * KIB);
        append(&logs[i], i % 2 ? 1000 : 20 * KIB);
        byte_log_seal(&logs[i]);
    }
    assert_true(store.memory_used <= 100 * KIB);
    after = dup(0);
    close(after);
    assert_true(after <= before + 1);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(logs[i].end - logs[i].start, i % 2 ? 1000 : 20 * KIB);
        check(&logs[i], 3000);
        byte_log_free(&logs[i]);
    }
    assert_int_equal(store.file_used, 0);
    byte_store_free(&store);
}

static void a_log_can_be_put_away_and_come_back(void **state)
{
    static const uint64_t sizes[] = { 0, 1, 16 * KIB, 300 * KIB };
    struct byte_store store;

    (void)state;
    byte_store_init(&store, NULL, 64 * KIB * KIB, 256 * KIB);
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        struct byte_log log;
        struct byte_log_place_kept kept;
        byte_log_init(&log, &store, 64 * KIB * KIB);
        append(&log, sizes[i]);
        byte_log_seal(&log);
        assert_true(byte_log_put_away(&log));
        assert_int_equal(store.memory_used, 0);
        assert_int_equal(store.file_used, sizes[i]);
        kept = byte_log_kept_place(&log);
        byte_log_leave(&log);
        assert_int_equal(log.end, 0);
        byte_log_free(&log);
        assert_int_equal(store.file_used, sizes[i]);
        byte_log_init(&log, &store, 0);
        byte_log_come_back(&log, &kept);
        assert_int_equal(log.end, sizes[i]);
        check(&log, 5000);
        byte_log_free(&log);
        assert_int_equal(store.file_used, 0);
    }
    byte_store_free(&store);
}

static void without_room_on_disk_nothing_is_put_away(void **state)
{
    struct byte_store store;
    struct byte_log log;
    uint64_t at;

    (void)state;
    byte_store_init(&store, NULL, 100, 256 * KIB);
    byte_log_init(&log, &store, 64 * KIB);
    append(&log, 200);
    byte_log_seal(&log);
    assert_false(byte_log_put_away(&log));
    check(&log, 5000);
    assert_int_equal(store.memory_used, 200);
    assert_false(byte_store_put(&store, "x", 101, &at));
    assert_true(byte_store_put(&store, "xyz", 3, &at));
    byte_store_drop(&store, at, 3);
    byte_log_free(&log);
    assert_int_equal(store.memory_used, 0);
    assert_int_equal(store.file_used, 0);
    byte_store_free(&store);
}

static void the_last_bytes_are_read_where_they_are_while_readers_are_told(void **state)
{
    struct byte_store store;
    struct byte_log log;
    char piece[1000], room[1000];
    const char *p;

    (void)state;
    byte_store_init(&store, NULL, 64 * KIB * KIB, 100 * KIB);
    byte_log_init(&log, &store, 1000 * KIB);
    append(&log, 100 * KIB);
    for (size_t i = 0; i < sizeof(piece); i++)
        piece[i] = byte_at(log.end + i);
    byte_log_append(&log, piece, sizeof(piece));
    assert_int_equal(byte_log_read(&log, 100 * KIB + 10, room, sizeof(room), &p), 990);
    assert_ptr_equal(p, piece + 10);
    assert_int_equal(byte_log_read(&log, 100 * KIB - 10, room, sizeof(room), &p), 1000);
    assert_ptr_equal(p, room);
    byte_log_settle(&log);
    assert_int_equal(byte_log_read(&log, 100 * KIB + 10, room, sizeof(room), &p), 990);
    assert_ptr_equal(p, room);
    assert_int_equal(byte_log_read(&log, log.end, room, sizeof(room), &p), 0);
    byte_log_free(&log);
    byte_store_free(&store);
}

static void a_line_of_stat_is_read_whatever_the_name_is(void **state)
{
    struct proc_entry entry;

    (void)state;
    assert_true(proc_parse_stat(STR("12 (a) S) 1) R 7 8 9 0 -1"), &entry));
    assert_int_equal(entry.pid, 12);
    assert_int_equal(entry.state, 'R');
    assert_int_equal(entry.parent, 7);
    assert_int_equal(entry.group, 8);
    assert_int_equal(entry.session, 9);
    assert_true(proc_parse_stat(STR("1 (\n) Z 0 0 0\n"), &entry) == false || entry.pid == 1);
    assert_false(proc_parse_stat(STR(""), &entry));
    assert_false(proc_parse_stat(STR("12 (a"), &entry));
    assert_false(proc_parse_stat(STR("12 (a)"), &entry));
    assert_false(proc_parse_stat(STR("12 (a) S 1 x 3"), &entry));
    assert_false(proc_parse_stat(STR("99999999999 (a) S 1 2 3"), &entry));
}

static bool has(const struct proc_snapshot *snapshot, const size_t *tree, size_t count, pid_t pid)
{
    for (size_t i = 0; i < count; i++)
        if (snapshot->entries[tree[i]].pid == pid)
            return true;
    return false;
}

static void a_tree_is_descendants_sessions_and_groups(void **state)
{
    static struct proc_entry entries[] = {
        { 2, 1, 2, 2, 'S', 0 },     { 10, 2, 2, 2, 'S', 0 },   { 11, 10, 2, 2, 'S', 0 },
        { 12, 11, 12, 2, 'S', 0 },  { 13, 1, 12, 2, 'S', 0 },  { 14, 13, 2, 2, 'S', 0 },
        { 20, 1, 20, 20, 'S', 0 },  { 21, 1, 21, 20, 'S', 0 }, { 22, 21, 22, 22, 'Z', 0 },
        { 23, 22, 22, 22, 'S', 0 }, { 30, 1, 30, 30, 'S', 5 }, { 31, 30, 31, 31, 'S', 0 },
        { 32, 1, 32, 32, 'S', 6 },
    };
    struct proc_snapshot snapshot = { .entries = entries, .count = ARRAY_SIZE(entries) };
    const pid_t in_session = 10;
    size_t count, *tree;

    (void)state;
    tree = proc_snapshot_tree(&snapshot, &(struct proc_wanted){ .roots = &in_session, .root_count = 1 }, &count);
    assert_int_equal(count, 5); /* 13 is an orphan of the group that 12 leads, 14 its child */
    for (pid_t pid = 10; pid <= 14; pid++)
        assert_true(has(&snapshot, tree, count, pid));
    assert_int_equal(snapshot.entries[tree[0]].pid, 10);
    free(tree);
    tree = proc_snapshot_tree(&snapshot, &(struct proc_wanted){ .session = 20 }, &count);
    assert_int_equal(count, 3); /* the zombie brings its child but is not there itself */
    assert_true(has(&snapshot, tree, count, 20) && has(&snapshot, tree, count, 21) &&
                has(&snapshot, tree, count, 23));
    free(tree);
    tree = proc_snapshot_tree(&snapshot, &(struct proc_wanted){ .mark = 5 }, &count);
    assert_int_equal(count, 2);
    assert_true(has(&snapshot, tree, count, 30) && has(&snapshot, tree, count, 31));
    free(tree);
    tree = proc_snapshot_tree(&snapshot, &(struct proc_wanted){ 0 }, &count);
    assert_int_equal(count, 0);
    free(tree);
}

static void a_snapshot_has_this_process_and_its_child(void **state)
{
    struct proc_snapshot snapshot;
    size_t count, *tree;
    const uint64_t mark = PROCESS_MARK_FIRST + 7;
    pid_t child = fork();

    (void)state;
    if (child == 0) {
        process_mark_take(&mark);
        pause();
        _exit(0);
    }
    assert_int_equal(proc_snapshot_take(&snapshot), 0);
    tree = proc_snapshot_tree(&snapshot, &(struct proc_wanted){ .roots = &child, .root_count = 1 }, &count);
    assert_int_equal(count, 1);
    assert_int_equal(snapshot.entries[tree[0]].parent, getpid());
    free(tree);
    while (process_mark_of(child) == PROCESS_MARK_NONE) /* it has not come to that yet */
        sched_yield();
    assert_int_equal(process_mark_of(child), mark);
    assert_int_equal(process_mark_of(getpid()), PROCESS_MARK_NONE);
    proc_snapshot_free(&snapshot);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

static void a_mark_is_read_from_the_limits(void **state)
{
    (void)state;
    assert_int_equal(
        process_mark_parse(STR("Limit\nMax file locks            1099511627783        unlimited  locks\n")),
        UINT64_C(1099511627783));
    assert_int_equal(process_mark_parse(STR("Max file locks            unlimited            unlimited  locks\n")),
                     0);
    assert_int_equal(process_mark_parse(STR("Max file locks            5                    unlimited  locks\n")),
                     0);
    assert_int_equal(process_mark_parse(STR("Max file locks            99999999999999999999999 unlimited\n")), 0);
    assert_int_equal(process_mark_parse(STR("Max file locks            1099511627783")), UINT64_C(1099511627783));
    assert_int_equal(process_mark_parse(STR("Max file locks ")), 0);
    assert_int_equal(process_mark_parse(STR("")), 0);
}

static void signals_have_names_and_numbers(void **state)
{
    (void)state;
    assert_int_equal(signal_by_name(STR("SIGTERM")), SIGTERM);
    assert_int_equal(signal_by_name(STR("HUP")), SIGHUP);
    assert_int_equal(signal_by_name(STR("9")), 9);
    assert_int_equal(signal_by_name(STR("64")), 64);
    assert_int_equal(signal_by_name(STR("65")), 0);
    assert_int_equal(signal_by_name(STR("0")), 0);
    assert_int_equal(signal_by_name(STR("")), 0);
    assert_int_equal(signal_by_name(STR("SIG")), 0);
    assert_int_equal(signal_by_name(STR("sigterm")), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_log_keeps_what_it_is_given_in_memory_and_in_files),
        cmocka_unit_test(past_its_limit_a_log_loses_the_oldest_bytes_and_says_so),
        cmocka_unit_test(where_the_files_may_not_grow_the_ring_stays_as_it_is),
        cmocka_unit_test(what_is_wanted_less_goes_first),
        cmocka_unit_test(many_logs_that_have_ended_take_neither_memory_nor_descriptors),
        cmocka_unit_test(a_log_can_be_put_away_and_come_back),
        cmocka_unit_test(without_room_on_disk_nothing_is_put_away),
        cmocka_unit_test(the_last_bytes_are_read_where_they_are_while_readers_are_told),
        cmocka_unit_test(a_line_of_stat_is_read_whatever_the_name_is),
        cmocka_unit_test(a_tree_is_descendants_sessions_and_groups),
        cmocka_unit_test(a_snapshot_has_this_process_and_its_child),
        cmocka_unit_test(a_mark_is_read_from_the_limits),
        cmocka_unit_test(signals_have_names_and_numbers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
