/*
 * The order of what a watched tree tells. The loop is left out: the test says when directories are read and when
 * events are, as a busy machine would.
 */
#include "unit.h"

#include "agent/watch/watch_node.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static uint64_t hand_ns; /* time stands still: a turn of reading is never cut short */

#include "hand_clock.h"

struct told {
    struct watch_tree tree;
    struct notify notify;
    struct loop *loop;
    char root[64];
    char text[1024]; /* "create a;modify a/f;" */
};

static struct told *of(struct watch_tree *tree)
{
    return container_of(tree, struct told, tree);
}

static void on_ready(struct watch_tree *tree)
{
    loop_stop(of(tree)->loop);
}

static void on_event(struct watch_tree *tree, enum watch_kind kind, struct str path, bool directory)
{
    static const char *const names[] = { "create", "modify", "delete", "move_from", "move_to", "attrib" };
    struct told *told = of(tree);
    size_t n = strlen(told->text), root = strlen(told->root) + 1;

    (void)directory;
    snprintf(told->text + n, sizeof(told->text) - n, "%s %.*s;", names[kind], (int)(path.n - root), path.p + root);
}

static void on_lost(struct watch_tree *tree)
{
    fail_msg("events were lost in %s", tree->path);
}

static void on_end(struct watch_tree *tree, const char *reason, bool failed)
{
    fail_msg("%s ended (%d): %s", tree->path, failed, reason);
}

static bool skip_nothing(struct watch_tree *tree, struct str path)
{
    (void)tree;
    (void)path;
    return false;
}

static void read_events(struct told *told)
{
    told->notify.io.callback(&told->notify.io, EPOLLIN);
}

static void read_directories(struct told *told)
{
    watch_scan_turn(&told->tree.scan_timer);
}

static void begin(struct told *told)
{
    static const struct watch_tree_events events = { on_ready, on_event, on_lost, on_end, skip_nothing };
    struct berm_error err;

    clock_by_hand();
    *told = (struct told){ .loop = loop_new(), .root = "/tmp/test-watch-tree-XXXXXX" };
    assert_non_null(told->loop);
    assert_non_null(mkdtemp(told->root));
    assert_int_equal(chdir(told->root), 0);
    notify_init(&told->notify, told->loop);
    assert_int_equal(watch_tree_start(&told->tree, &told->notify, told->root, true, &events, &err), 0);
    assert_int_equal(loop_run(told->loop), 0);
}

static void end(struct told *told)
{
    watch_tree_stop(&told->tree);
    told->notify.close_later.callback(&told->notify.close_later);
    loop_defer_cancel(told->loop, &told->notify.close_later);
    loop_free(told->loop);
}

static void make_file(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    close(fd);
}

/*
 * "a/b" is found by reading "a", which the kernel has nothing to say about. Before that is known to be so, "a/b" is
 * watched, and something happens in it that is read in the same turn as what the wait is for.
 */
static void a_directory_is_told_before_what_happens_in_it(void **state)
{
    struct told told;

    (void)state;
    begin(&told);
    assert_int_equal(mkdir("a", 0700), 0);
    assert_int_equal(mkdir("a/b", 0700), 0);
    read_events(&told);
    assert_string_equal(told.text, "create a;");
    make_file("x");
    read_directories(&told);
    make_file("a/b/f");
    read_events(&told);
    assert_string_equal(told.text, "create a;create x;create a/b;create a/b/f;");
    assert_int_equal(unlink("a/b/f") | unlink("x") | rmdir("a/b") | rmdir("a") | chdir("/") | rmdir(told.root), 0);
    end(&told);
}

/* The kernel tells of "a/b" itself here: once is enough, and still before "a/b/f". */
static void what_is_found_and_told_is_told_once(void **state)
{
    struct told told;

    (void)state;
    begin(&told);
    assert_int_equal(mkdir("a", 0700), 0);
    read_events(&told);
    read_directories(&told);
    assert_int_equal(mkdir("a/b", 0700), 0);
    assert_int_equal(mkdir("a/b/c", 0700), 0);
    read_events(&told);
    make_file("x");
    read_directories(&told);
    make_file("a/b/c/f");
    read_events(&told);
    assert_string_equal(told.text, "create a;create a/b;create x;create a/b/c;create a/b/c/f;");
    assert_int_equal(unlink("a/b/c/f") | unlink("x") | rmdir("a/b/c") | rmdir("a/b") | rmdir("a") | chdir("/") |
                         rmdir(told.root),
                     0);
    end(&told);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_directory_is_told_before_what_happens_in_it),
        cmocka_unit_test(what_is_found_and_told_is_told_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
