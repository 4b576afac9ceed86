/*
 * Archives that mean harm, through the real confined unpacker into a scratch directory. Outside that directory lies
 * a "victim" that every archive tries to reach.
 */
#include "image/stage.h"
#include "image/tree.h"
#include "image/unpack_child.h"
#include "image/unpack_disk.h"
#include "image_archive.h"

#include <fcntl.h>
#include <sys/xattr.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static char scratch[] = "/tmp/berm-test-unpack-XXXXXX";
static int scratch_fd = -EBADF, root = -EBADF;

static int start(void **state)
{
    (void)state;
    if (geteuid() != 0)
        return 0;
    scratch_fd = mkdtemp(scratch) ? open(scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    return scratch_fd < 0 ? -1 : 0;
}

static int finish(void **state)
{
    (void)state;
    close_fd(&scratch_fd);
    return geteuid() == 0 ? tree_remove(AT_FDCWD, scratch, NULL) : 0;
}

static int fresh_root(void **state)
{
    (void)state;
    if (geteuid() != 0)
        return 0;
    if (tree_remove(scratch_fd, "root", NULL) < 0 || mkdirat(scratch_fd, "root", 0755) < 0)
        return -1;
    int victim = openat(scratch_fd, "victim", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (victim < 0 || write(victim, "untouched", 9) != 9)
        return -1;
    close(victim);
    root = openat(scratch_fd, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return root < 0 ? -1 : 0;
}

static int check_victim(void **state)
{
    char text[32] = "";
    struct stat st;
    (void)state;
    close_fd(&root);
    if (geteuid() != 0)
        return 0;
    int fd = openat(scratch_fd, "victim", O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, text, sizeof(text) - 1);
    bool whole = n == 9 && strcmp(text, "untouched") == 0 && fstat(fd, &st) == 0 &&
                 st.st_mode == (S_IFREG | 0600) && st.st_nlink == 1;
    close(fd);
    return whole ? 0 : -1;
}

#define ROOT_ONLY()                                                                                                \
    do {                                                                                                           \
        (void)state;                                                                                               \
        if (geteuid() != 0)                                                                                        \
            skip();                                                                                                \
    } while (0)

/* Unpacks and closes `archive`. */
static int unpack_fd(int archive, bool layer, struct image_import_report *report, struct berm_error *err)
{
    struct stat st;
    fstat(archive, &st);
    const struct unpack_job job = {
        .root_fd = root, .source_fd = archive, .source_size = (uint64_t)st.st_size, .layer = layer, .stage = "test"
    };
    int rc = unpack_stream(&job, report, err);
    close(archive);
    return rc;
}

static struct image_import_report last_report;
static struct berm_error last_error;

static int unpack_members(const struct member *members, size_t count, bool layer)
{
    memset(&last_report, 0, sizeof(last_report));
    memset(&last_error, 0, sizeof(last_error));
    return unpack_fd(make_archive(members, count, ARCHIVE_FILTER_NONE), layer, &last_report, &last_error);
}

#define UNPACK(...)                                                                                                \
    __extension__({                                                                                                \
        const struct member _members[] = { __VA_ARGS__ };                                                          \
        unpack_members(_members, ARRAY_SIZE(_members), false);                                                     \
    })
#define UNPACK_LAYER(...)                                                                                          \
    __extension__({                                                                                                \
        const struct member _members[] = { __VA_ARGS__ };                                                          \
        unpack_members(_members, ARRAY_SIZE(_members), true);                                                      \
    })

static bool exists(const char *path)
{
    return faccessat(root, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static struct stat stat_of(const char *path)
{
    struct stat st = { 0 };
    assert_int_equal(fstatat(root, path, &st, AT_SYMLINK_NOFOLLOW), 0);
    return st;
}

static const char *content_of(const char *path)
{
    static char text[256];
    int fd = openat(root, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    assert_true(fd >= 0);
    ssize_t n = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[MAX(n, 0)] = '\0';
    return text;
}

static void a_plain_archive_arrives_with_owners_modes_and_times(void **state)
{
    ROOT_ONLY();
    assert_int_equal(UNPACK({ 'd', "./", NULL, 0755, 0, NULL, 50 }, { 'd', "a/", NULL, 02750, 7, NULL, 100 },
                            { 'f', "a/f", "hello", 04755, 1000, "user.note", 200 },
                            { 'l', "a/l", "../nowhere/at/all", 0, 3, NULL, 300 }, { 'h', "a/h", "a/f" },
                            { 'p', "a/p", NULL, 0622, 5, NULL, 400 }, { 'f', "b/c/d", "deep" }),
                     0);
    struct stat st = stat_of("a");
    assert_int_equal(st.st_mode, S_IFDIR | 02750);
    assert_int_equal(st.st_uid, 7);
    assert_int_equal(st.st_mtim.tv_sec, 100);
    st = stat_of("a/f");
    assert_int_equal(st.st_mode, S_IFREG | 04755);
    assert_int_equal(st.st_gid, 1000);
    assert_int_equal(st.st_mtim.tv_sec, 200);
    assert_int_equal(st.st_nlink, 2);
    assert_int_equal(st.st_ino, stat_of("a/h").st_ino);
    assert_string_equal(content_of("a/h"), "hello");
    st = stat_of("a/l");
    assert_true(S_ISLNK(st.st_mode));
    assert_int_equal(st.st_uid, 3);
    st = stat_of("a/p");
    assert_int_equal(st.st_mode, S_IFIFO | 0622);
    assert_string_equal(content_of("b/c/d"), "deep");
    /* Directories that nobody listed have no time of their own, and making things in one does not change it. */
    assert_int_equal(stat_of("b").st_mtim.tv_sec, 0);
    assert_int_equal(stat_of("b/c").st_mtim.tv_sec, 0);
    assert_int_equal(stat_of(".").st_mtim.tv_sec, 50);
    char value[8];
    char path[64];
    snprintf(path, sizeof(path), "%s/root/a/f", scratch);
    assert_int_equal(getxattr(path, "user.note", value, sizeof(value)), 5);
    assert_int_equal(last_report.entries, 7);
    assert_int_equal(last_report.bytes, 9);
}

static void every_compression_is_taken(void **state)
{
    ROOT_ONLY();
    const struct member members[] = { { 'f', "f", "x" } };
    const int filters[] = { ARCHIVE_FILTER_NONE, ARCHIVE_FILTER_GZIP, ARCHIVE_FILTER_BZIP2, ARCHIVE_FILTER_XZ,
                            ARCHIVE_FILTER_ZSTD };
    for (size_t i = 0; i < ARRAY_SIZE(filters); i++) {
        struct image_import_report report = { 0 };
        assert_int_equal(unpack_fd(make_archive(members, 1, filters[i]), false, &report, NULL), 0);
        assert_string_equal(content_of("f"), "x");
        assert_int_equal(unlinkat(root, "f", 0), 0);
    }
}

static void absolute_names_land_inside(void **state)
{
    ROOT_ONLY();
    char name[64];
    snprintf(name, sizeof(name), "%s/victim", scratch);
    assert_int_equal(UNPACK({ 'f', name, "harm" }, { 'f', "//etc/shadow", "x" }), 0);
    assert_string_equal(content_of(name + 1), "harm");
    assert_string_equal(content_of("etc/shadow"), "x");
}

static void dot_dot_refuses_the_archive(void **state)
{
    ROOT_ONLY();
    static const char *const names[] = { "../victim", "a/../../victim", "/../victim", "./../victim", "a/.." };
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        assert_int_equal(UNPACK({ 'f', names[i], "harm" }), -1);
        assert_int_equal(last_error.code, BERM_E_IMAGE_INVALID);
        assert_int_equal(UNPACK({ 'h', "x", names[i] }), -1);
    }
}

static void writing_through_symbolic_links_stays_inside(void **state)
{
    ROOT_ONLY();
    assert_int_equal(UNPACK({ 'l', "up", "../../../.." }, { 'f', "up/through-up", "a" }, { 'l', "abs", "/" },
                            { 'f', "abs/through-abs", "b" }, { 'd', "usr/lib" }, { 'l', "lib", "usr/lib" },
                            { 'f', "lib/so", "c" }, { 'l', "proc", "/proc/self/root" }),
                     0);
    assert_string_equal(content_of("through-up"), "a");
    assert_string_equal(content_of("through-abs"), "b");
    assert_string_equal(content_of("usr/lib/so"), "c");
    assert_int_equal(UNPACK({ 'l', "dangling", "/no/such/place" }, { 'f', "dangling/f", "x" }), -1);
    assert_int_equal(UNPACK({ 'l', "loop", "loop" }, { 'f', "loop/f", "x" }), -1);
}

static void a_link_in_the_way_is_replaced_and_not_followed(void **state)
{
    ROOT_ONLY();
    char target[64];
    snprintf(target, sizeof(target), "%s/victim", scratch);
    assert_int_equal(UNPACK({ 'l', "f", target }, { 'f', "f", "harm", 0777 }), 0);
    assert_true(S_ISREG(stat_of("f").st_mode));
    assert_int_equal(UNPACK({ 'l', "d", "/" }, { 'd', "d", NULL, 0700, 9 }), 0);
    assert_true(S_ISDIR(stat_of("d").st_mode));
    assert_int_equal(stat_of(".").st_uid, 0);
}

static void the_last_of_several_members_wins(void **state)
{
    ROOT_ONLY();
    assert_int_equal(UNPACK({ 'f', "x", "one" }, { 'f', "x", "two" }), 0);
    assert_string_equal(content_of("x"), "two");
    assert_int_equal(UNPACK({ 'd', "x" }, { 'f', "x/y/z", "deep" }, { 'f', "x", "file again" }), 0);
    assert_string_equal(content_of("x"), "file again");
    assert_int_equal(UNPACK({ 'd', "m", NULL, 0700 }, { 'f', "m/f", "kept" }, { 'd', "m", NULL, 0711 }), 0);
    assert_string_equal(content_of("m/f"), "kept");
    assert_int_equal(stat_of("m").st_mode & 07777, 0711);
}

static void hard_links_reach_members_only(void **state)
{
    ROOT_ONLY();
    char absolute[64];
    snprintf(absolute, sizeof(absolute), "%s/victim", scratch);
    assert_int_equal(UNPACK({ 'h', "x", absolute }), -1);
    assert_int_equal(UNPACK({ 'l', "up", ".." }, { 'h', "x", "up/victim" }), -1);
    assert_int_equal(UNPACK({ 'h', "x", "nothing" }), -1);
    assert_int_equal(UNPACK({ 'd', "dir" }, { 'h', "x", "dir" }), -1);
    assert_int_equal(UNPACK({ 'h', "x", "/" }), -1);
    /* A link to a symbolic link is one more name of the link itself. */
    assert_int_equal(UNPACK({ 'l', "s", absolute }, { 'h', "t", "s" }, { 'f', "t", "harm" }), 0);
    assert_true(S_ISLNK(stat_of("s").st_mode));
    assert_int_equal(UNPACK({ 'f', "same", "content" }, { 'h', "same", "same" }), 0);
    assert_string_equal(content_of("same"), "content");
}

static void devices_are_left_out_and_counted(void **state)
{
    ROOT_ONLY();
    assert_int_equal(UNPACK({ 'c', "dev/null" }, { 'b', "dev/sda" }, { 'f', "f", "x" }), 0);
    assert_int_equal(last_report.devices_skipped, 2);
    assert_false(exists("dev/null"));
    assert_true(exists("f"));
}

static void foreign_attributes_and_owners_are_not_taken_over(void **state)
{
    ROOT_ONLY();
    assert_int_equal(UNPACK({ 'f', "a", "x", 0, 0, "trusted.overlay.opaque" },
                            { 'f', "b", "x", 0, 0, "user.overlay.redirect" },
                            { 'f', "c", "x", 0, 0, "security.selinux" },
                            { 'f', "d", "x", 0, 0, "security.capability" }, { 'f', "e", "x", 0, 70000 }),
                     0);
    /* The writer stores each under two vendors' keywords. */
    assert_int_equal(last_report.xattrs_dropped, 8);
    assert_int_equal(last_report.owners_changed, 2);
    assert_int_equal(stat_of("e").st_uid, 65534);
    for (const char *name = "a"; name; name = name[0] < 'd' ? (char[]){ (char)(name[0] + 1), 0 } : NULL) {
        char path[64], list[64];
        snprintf(path, sizeof(path), "%s/root/%s", scratch, name);
        assert_int_equal(listxattr(path, list, sizeof(list)), 0);
    }
}

static void names_that_are_too_long_or_deep_are_refused(void **state)
{
    ROOT_ONLY();
    char name[1024];
    memset(name, 'n', sizeof(name));
    name[256] = '\0';
    assert_int_equal(UNPACK({ 'f', name, "x" }), -1);
    for (size_t i = 0; i < 600; i++)
        name[i] = i % 2 ? '/' : 'd';
    name[600] = '\0';
    assert_int_equal(UNPACK({ 'f', name, "x" }), -1);
}

static void a_tree_deeper_than_any_path_can_still_be_removed(void **state)
{
    ROOT_ONLY();
    char chain[400];
    for (size_t i = 0; i < sizeof(chain); i++)
        chain[i] = i % 2 ? '/' : 'd';
    chain[sizeof(chain) - 1] = '\0';
    /* Each link leads 200 directories below where the one before leads: 4,000 in the end. */
    for (unsigned i = 0; i < 20; i++) {
        char link[16], directory[512], file[600];
        snprintf(link, sizeof(link), "l%u", i);
        snprintf(directory, sizeof(directory), "l%u/%s", i - 1, chain);
        const char *path = i == 0 ? chain : directory;
        snprintf(file, sizeof(file), "%s/f", path);
        assert_int_equal(UNPACK({ 'f', file, "x" }, { 'l', link, path }), 0);
    }
    assert_int_equal(tree_remove(scratch_fd, "root", NULL), 0);
    assert_int_equal(faccessat(scratch_fd, "root", F_OK, 0), -1);
}

static void sizes_beyond_the_limit_are_refused_before_they_are_written(void **state)
{
    ROOT_ONLY();
    /* A header whose size field says 20 GiB and one byte (base-256), and one with a sparse map of 8 EiB. */
    struct archive_entry *e = archive_entry_new();
    int fd = memfd_create("archive", MFD_CLOEXEC);
    struct archive *a = archive_write_new();
    archive_write_set_format_pax(a);
    archive_write_open_fd(a, fd);
    archive_entry_set_pathname(e, "bomb");
    archive_entry_set_mode(e, AE_IFREG | 0644);
    archive_entry_set_size(e, INT64_MAX - 1000000);
    archive_entry_sparse_add_entry(e, 0, 1);
    archive_write_header(a, e);
    archive_write_data(a, "x", 1);
    archive_entry_free(e);
    archive_write_close(a);
    archive_write_free(a);
    lseek(fd, 0, SEEK_SET);
    memset(&last_error, 0, sizeof(last_error));
    struct image_import_report report = { 0 };
    assert_int_equal(unpack_fd(fd, false, &report, &last_error), -1);
    assert_int_equal(last_error.code, BERM_E_IMAGE_INVALID);
    assert_false(exists("bomb"));
}

static void the_limits_hold_over_all_layers_together(void **state)
{
    ROOT_ONLY();
    const struct member members[] = { { 'f', "a", "0123456789" }, { 'f', "b", "0123456789" } };
    struct image_import_report report = { .bytes = UNPACK_BYTES_MAX - 15 };
    assert_int_equal(unpack_fd(make_archive(members, 2, ARCHIVE_FILTER_NONE), true, &report, &last_error), -1);
    report = (struct image_import_report){ .entries = UNPACK_ENTRIES_MAX - 1 };
    assert_int_equal(unpack_fd(make_archive(members, 2, ARCHIVE_FILTER_NONE), true, &report, &last_error), -1);
    report = (struct image_import_report){ .bytes = UNPACK_BYTES_MAX - 20, .entries = UNPACK_ENTRIES_MAX - 2 };
    assert_int_equal(unpack_fd(make_archive(members, 2, ARCHIVE_FILTER_NONE), true, &report, &last_error), 0);
}

static void what_is_no_archive_is_refused(void **state)
{
    ROOT_ONLY();
    char noise[4096];
    struct image_import_report report = { 0 };
    memset(noise, 0x5a, sizeof(noise));
    assert_int_equal(unpack_fd(make_file(noise, sizeof(noise)), false, &report, &last_error), -1);
    assert_int_equal(last_error.code, BERM_E_IMAGE_INVALID);
    assert_int_equal(unpack_fd(make_file("", 0), false, &report, NULL), -1);
    /* Cut off inside a member's data. */
    const struct member members[] = { { 'f', "f", "0123456789" } };
    int whole = make_archive(members, 1, ARCHIVE_FILTER_NONE);
    assert_int_equal(ftruncate(whole, 515), 0);
    assert_int_equal(unpack_fd(whole, false, &report, NULL), -1);
}

static void the_digest_of_a_stream_is_checked_to_its_end(void **state)
{
    ROOT_ONLY();
    const struct member members[] = { { 'f', "f", "x" } };
    const uint8_t wrong[IMAGE_DIGEST_BYTES] = { 1 };
    struct stat st;
    int fd = make_archive(members, 1, ARCHIVE_FILTER_NONE);
    fstat(fd, &st);
    struct unpack_job job = { .root_fd = root,
                              .source_fd = fd,
                              .source_size = (uint64_t)st.st_size,
                              .sha256 = wrong,
                              .layer = true,
                              .stage = "test" };
    assert_int_equal(unpack_stream(&job, &last_report, &last_error), -1);
    assert_non_null(strstr(last_error.message, "digest"));
    close(fd);
}

static void whiteouts_remove_what_lower_layers_have(void **state)
{
    ROOT_ONLY();
    assert_int_equal(
        UNPACK_LAYER({ 'f', "a/one", "1" }, { 'f', "a/two", "2" }, { 'f', "d/e/f", "3" }, { 'f', "keep", "4" }), 0);
    assert_int_equal(UNPACK_LAYER({ 'f', "a/.wh.one", NULL }, { 'f', ".wh.d", NULL }, { 'f', ".wh.never", NULL },
                                  { 'f', "no/such/.wh.thing", NULL }, { 'f', "a/.wh..wh.aufs", NULL }),
                     0);
    assert_false(exists("a/one"));
    assert_true(exists("a/two"));
    assert_false(exists("d"));
    assert_true(exists("keep"));
    assert_false(exists("a/.wh.one"));
    assert_false(exists("a/.wh..wh.aufs"));
}

static void an_opaque_directory_keeps_only_what_its_own_layer_has(void **state)
{
    ROOT_ONLY();
    for (int after = 0; after < 2; after++) {
        assert_int_equal(UNPACK_LAYER({ 'f', "o/old", "1" }, { 'f', "o/sub/old", "2" }, { 'f', "o/gone/x", "3" }),
                         0);
        const struct member opaque = { 'f', "o/.wh..wh..opq", NULL };
        const struct member fresh = { 'f', "o/new", "4" };
        const struct member below = { 'f', "o/sub/new", "5" };
        const struct member members[] = { after ? fresh : opaque, after ? below : fresh, after ? opaque : below };
        assert_int_equal(unpack_members(members, ARRAY_SIZE(members), true), 0);
        assert_false(exists("o/old"));
        assert_false(exists("o/sub/old"));
        assert_false(exists("o/gone"));
        assert_true(exists("o/new"));
        assert_true(exists("o/sub/new"));
    }
}

static void whiteouts_cannot_reach_outside(void **state)
{
    ROOT_ONLY();
    assert_int_equal(UNPACK_LAYER({ 'l', "up", ".." }, { 'f', "up/.wh.victim", NULL }), 0);
    assert_int_equal(UNPACK_LAYER({ 'l', "up", "../.." }, { 'f', "up/.wh..wh..opq", NULL }), 0);
    assert_int_equal(UNPACK_LAYER({ 'f', "a/.wh...", NULL }), -1);
    assert_int_equal(UNPACK_LAYER({ 'f', ".wh.", NULL }), -1);
    assert_int_equal(UNPACK_LAYER({ 'l', "q", "/" }, { 'f', ".wh.q", NULL }), 0);
}

static void whiteouts_mean_nothing_outside_layers(void **state)
{
    ROOT_ONLY();
    assert_int_equal(UNPACK({ 'f', "a", "x" }, { 'f', ".wh.a", "y" }), 0);
    assert_true(exists("a"));
    assert_true(exists(".wh.a"));
}

#define HOSTILE(test) cmocka_unit_test_setup_teardown(test, fresh_root, check_victim)

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOSTILE(a_plain_archive_arrives_with_owners_modes_and_times),
        HOSTILE(every_compression_is_taken),
        HOSTILE(absolute_names_land_inside),
        HOSTILE(dot_dot_refuses_the_archive),
        HOSTILE(writing_through_symbolic_links_stays_inside),
        HOSTILE(a_link_in_the_way_is_replaced_and_not_followed),
        HOSTILE(the_last_of_several_members_wins),
        HOSTILE(hard_links_reach_members_only),
        HOSTILE(devices_are_left_out_and_counted),
        HOSTILE(foreign_attributes_and_owners_are_not_taken_over),
        HOSTILE(names_that_are_too_long_or_deep_are_refused),
        HOSTILE(a_tree_deeper_than_any_path_can_still_be_removed),
        HOSTILE(sizes_beyond_the_limit_are_refused_before_they_are_written),
        HOSTILE(the_limits_hold_over_all_layers_together),
        HOSTILE(what_is_no_archive_is_refused),
        HOSTILE(the_digest_of_a_stream_is_checked_to_its_end),
        HOSTILE(whiteouts_remove_what_lower_layers_have),
        HOSTILE(an_opaque_directory_keeps_only_what_its_own_layer_has),
        HOSTILE(whiteouts_cannot_reach_outside),
        HOSTILE(whiteouts_mean_nothing_outside_layers),
    };
    return cmocka_run_group_tests(tests, start, finish);
}
