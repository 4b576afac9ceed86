/* The store as its users see it: imports end to end (with mkfs.erofs, as root), names, digests, locks, leftovers.
 */
#include "image/config.h"
#include "image/tree.h"
#include "image_archive.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static char scratch[32];
static char images[64];
static int scratch_fd = -EBADF;
static struct berm_error last_error;

static int setup(void **state)
{
    (void)state;
    if (geteuid() != 0)
        return 0;
    snprintf(scratch, sizeof(scratch), "/tmp/berm-test-store-XXXXXX");
    scratch_fd = mkdtemp(scratch) ? open(scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    snprintf(images, sizeof(images), "%s/lib/images", scratch);
    memset(&last_error, 0, sizeof(last_error));
    return scratch_fd < 0 ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    close_fd(&scratch_fd);
    return geteuid() == 0 ? tree_remove(AT_FDCWD, scratch, NULL) : 0;
}

#define ROOT_ONLY()                                                                                                \
    do {                                                                                                           \
        (void)state;                                                                                               \
        if (geteuid() != 0)                                                                                        \
            skip();                                                                                                \
    } while (0)

static void copy_to(int from, const char *path)
{
    char bytes[65536];
    ssize_t n;
    int to = openat(scratch_fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(to >= 0);
    while ((n = read(from, bytes, sizeof(bytes))) > 0)
        assert_int_equal(write(to, bytes, (size_t)n), n);
    close(to);
    close(from);
}

/* Imports an archive of one file with this content under `name`. */
static int import_file(const char *name, const char *content, struct image *ret)
{
    const struct member members[] = { { 'd', "./" }, { 'f', "file", content } };
    char path[64];
    copy_to(make_archive(members, ARRAY_SIZE(members), ARCHIVE_FILTER_GZIP), "one.tar.gz");
    snprintf(path, sizeof(path), "%s/one.tar.gz", scratch);
    return image_import(images, name, path, NULL, ret, NULL, &last_error);
}

static size_t count_entries(const char *path)
{
    struct image *list;
    size_t count;
    assert_int_equal(image_list(path, &list, &count, NULL), 0);
    free(list);
    return count;
}

static int open_image(const char *digest)
{
    char path[160];
    snprintf(path, sizeof(path), "%s/%s", images, digest);
    return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void sha256_of_files(int dir, char hex[65])
{
    static const char *const files[] = { "rootfs.erofs", "config.json" };
    uint8_t digest[32], bytes[65536];
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_DigestInit_ex(ctx, EVP_sha256(), NULL);
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        ssize_t n;
        int fd = openat(dir, files[i], O_RDONLY | O_CLOEXEC);
        while ((n = read(fd, bytes, sizeof(bytes))) > 0)
            EVP_DigestUpdate(ctx, bytes, (size_t)n);
        close(fd);
    }
    EVP_DigestFinal_ex(ctx, digest, NULL);
    EVP_MD_CTX_free(ctx);
    hex_encode(digest, sizeof(digest), hex);
}

static void an_imported_image_is_found_by_name_and_digest(void **state)
{
    ROOT_ONLY();
    struct image made, found;
    assert_int_equal(import_file("one", "1", &made), 0);
    assert_string_equal(made.name, "one");
    assert_int_equal(image_resolve(images, "one", &found, NULL), 0);
    assert_memory_equal(&made, &found, sizeof(made));
    char prefixed[80];
    snprintf(prefixed, sizeof(prefixed), "sha256:%s", made.digest);
    assert_int_equal(image_resolve(images, prefixed, &found, NULL), 0);
    assert_int_equal(image_resolve(images, made.digest, &found, NULL), 0);
    assert_string_equal(found.name, "");
    assert_memory_equal(found.digest_bytes, made.digest_bytes, IMAGE_DIGEST_BYTES);
    assert_int_equal(image_resolve(images, "two", &found, &last_error), -1);
    assert_int_equal(last_error.code, BERM_E_IMAGE_NOT_FOUND);
    assert_int_equal(image_resolve(images, "sha256:two", &found, &last_error), -1);
    assert_int_equal(last_error.code, BERM_E_INVALID_REQUEST);
    assert_int_equal(image_resolve(images, "../one", &found, &last_error), -1);
    assert_int_equal(last_error.code, BERM_E_INVALID_REQUEST);
}

static void an_image_is_readable_by_all_and_writable_by_nobody(void **state)
{
    ROOT_ONLY();
    struct image made;
    struct stat st;
    mode_t before = umask(077);
    assert_int_equal(import_file("one", "1", &made), 0);
    umask(before);
    int dir = open_image(made.digest);
    assert_int_equal(fstat(dir, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0755);
    assert_int_equal(fstatat(dir, "rootfs.erofs", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0444);
    assert_int_equal(fstatat(dir, "config.json", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0444);
    assert_int_equal(stat(images, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0755);
    char hex[65];
    sha256_of_files(dir, hex);
    assert_string_equal(hex, made.digest);
    close(dir);
}

static void the_same_content_is_the_same_image(void **state)
{
    ROOT_ONLY();
    struct image one, two, other;
    assert_int_equal(import_file("one", "1", &one), 0);
    assert_int_equal(import_file("two", "1", &two), 0);
    assert_int_equal(import_file("other", "2", &other), 0);
    assert_string_equal(one.digest, two.digest);
    assert_string_not_equal(one.digest, other.digest);
    assert_int_equal(count_entries(images), 3);
}

static void rebuilding_moves_the_name_and_removes_what_nobody_uses(void **state)
{
    ROOT_ONLY();
    struct image first, second, third, found;
    assert_int_equal(import_file("one", "1", &first), 0);
    assert_int_equal(import_file("one", "2", &second), 0);
    assert_int_equal(image_resolve(images, first.digest, &found, &last_error), -1);
    assert_int_equal(last_error.code, BERM_E_IMAGE_NOT_FOUND);
    /* One that is in use stays, without a name, until the next change after its user has gone. */
    int user = open_image(second.digest);
    assert_int_equal(flock(user, LOCK_SH), 0);
    assert_int_equal(import_file("one", "3", &third), 0);
    assert_int_equal(image_resolve(images, second.digest, &found, NULL), 0);
    struct image *list;
    size_t count;
    assert_int_equal(image_list(images, &list, &count, NULL), 0);
    assert_int_equal(count, 2);
    assert_string_equal(list[0].name, "one");
    assert_string_equal(list[1].name, "");
    free(list);
    close(user);
    assert_int_equal(import_file("two", "4", &first), 0);
    assert_int_equal(image_resolve(images, second.digest, &found, NULL), -1);
}

static void an_image_in_use_is_not_removed(void **state)
{
    ROOT_ONLY();
    struct image one, same, found;
    assert_int_equal(import_file("one", "1", &one), 0);
    int user = open_image(one.digest);
    assert_int_equal(flock(user, LOCK_SH), 0);
    assert_int_equal(image_remove(images, "one", &last_error), -1);
    assert_int_equal(last_error.code, BERM_E_IMAGE_IN_USE);
    assert_int_equal(image_remove(images, one.digest, &last_error), -1);
    assert_int_equal(image_resolve(images, "one", &found, NULL), 0);
    /* One of two names can go at any time. */
    assert_int_equal(import_file("same", "1", &same), 0);
    assert_int_equal(image_remove(images, "same", NULL), 0);
    assert_int_equal(image_resolve(images, "one", &found, NULL), 0);
    close(user);
    assert_int_equal(image_remove(images, "one", NULL), 0);
    assert_int_equal(image_remove(images, "one", &last_error), -1);
    assert_int_equal(last_error.code, BERM_E_IMAGE_NOT_FOUND);
    assert_int_equal(count_entries(images), 0);
}

static void removing_a_digest_removes_its_names(void **state)
{
    ROOT_ONLY();
    struct image one, two;
    assert_int_equal(import_file("one", "1", &one), 0);
    assert_int_equal(import_file("two", "1", &two), 0);
    assert_int_equal(image_remove(images, one.digest, NULL), 0);
    assert_int_equal(count_entries(images), 0);
    assert_int_equal(image_resolve(images, "two", &one, NULL), -1);
}

static void a_killed_import_leaves_nothing_for_long(void **state)
{
    ROOT_ONLY();
    struct image made;
    struct stat st;
    char path[128];
    assert_int_equal(import_file("one", "1", &made), 0);
    snprintf(path, sizeof(path), "%s/.tmp-000000000000", images);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s/.tmp-000000000000/rootfs", images);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s/.tmp-111111111111", images);
    assert_int_equal(mkdir(path, 0700), 0);
    int maker = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(flock(maker, LOCK_EX), 0);
    assert_int_equal(import_file("two", "2", &made), 0);
    assert_int_equal(stat(path, &st), 0);
    close(maker);
    snprintf(path, sizeof(path), "%s/.tmp-000000000000", images);
    assert_int_equal(stat(path, &st), -1);
}

static void an_interrupted_import_cleans_up_and_then_dies_of_the_signal(void **state)
{
    ROOT_ONLY();
    char tar[64];
    struct image made;
    assert_int_equal(import_file("one", "1", &made), 0);
    snprintf(tar, sizeof(tar), "%s/one.tar.gz", scratch);
    /* A child that has the signal pending from the start of its import. */
    pid_t pid = fork();
    if (pid == 0) {
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        sigprocmask(SIG_BLOCK, &set, NULL);
        raise(SIGTERM);
        int rc = image_import(images, "two", tar, NULL, &made, NULL, NULL);
        sigprocmask(SIG_UNBLOCK, &set, NULL);
        _exit(rc == 0 ? 1 : 2);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    assert_int_equal(count_entries(images), 1);
    char command[128];
    snprintf(command, sizeof(command), "ls -A %s | grep -q '^.tmp-'", images);
    assert_int_not_equal(system(command), 0);
}

static void a_damaged_store_is_an_error_and_not_a_wrong_image(void **state)
{
    ROOT_ONLY();
    struct image made, found;
    char path[160];
    assert_int_equal(import_file("one", "1", &made), 0);
    snprintf(path, sizeof(path), "%s/names/evil", images);
    assert_int_equal(symlink("../../../../etc", path), 0);
    assert_int_equal(image_resolve(images, "evil", &found, &last_error), -1);
    assert_int_equal(last_error.code, BERM_E_IMAGE_INVALID);
    assert_int_equal(unlink(path), 0);
    /* A name whose image is gone is not listed, and can be removed. */
    assert_int_equal(symlink("../aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", path), 0);
    assert_int_equal(image_resolve(images, "evil", &found, &last_error), -1);
    assert_int_equal(last_error.code, BERM_E_IMAGE_NOT_FOUND);
    assert_int_equal(count_entries(images), 1);
    assert_int_equal(image_remove(images, "evil", NULL), 0);
}

static void a_store_that_is_not_there_is_empty(void **state)
{
    (void)state;
    struct image found;
    assert_int_equal(count_entries("/nonexistent/images"), 0);
    assert_int_equal(image_resolve("/nonexistent/images", "base", &found, &last_error), -1);
    assert_int_equal(last_error.code, BERM_E_IMAGE_NOT_FOUND);
}

static void bad_sources_and_names_are_told_apart(void **state)
{
    ROOT_ONLY();
    struct image made;
    assert_int_equal(image_import(images, "Bad Name", "/etc/passwd", NULL, &made, NULL, &last_error), -1);
    assert_string_equal(last_error.field, "name");
    assert_int_equal(image_import(images, "x", "/nonexistent.tar", NULL, &made, NULL, &last_error), -1);
    assert_int_equal(last_error.code, BERM_E_NOT_FOUND);
    assert_int_equal(image_import(images, "x", "/etc/passwd", NULL, &made, NULL, &last_error), -1);
    assert_int_equal(last_error.code, BERM_E_IMAGE_INVALID);
    assert_int_equal(image_import(images, "x", "/dev/null", NULL, &made, NULL, &last_error), -1);
    assert_int_equal(last_error.code, BERM_E_IMAGE_INVALID);
    const struct member docker_save[] = { { 'f', "manifest.json", "[]" } };
    char path[64];
    copy_to(make_archive(docker_save, 1, ARCHIVE_FILTER_NONE), "saved.tar");
    snprintf(path, sizeof(path), "%s/saved.tar", scratch);
    assert_int_equal(image_import(images, "x", path, NULL, &made, NULL, &last_error), -1);
    assert_non_null(strstr(last_error.message, "OCI layout"));
    assert_int_equal(count_entries(images), 0);
}

/* Writes a blob into the layout and gives its descriptor's text. */
static const char *add_blob(int fd, const char *type, char out[256])
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    char hex[65], path[128];
    struct stat st;
    fstat(fd, &st);
    void *bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    EVP_Digest(bytes, (size_t)st.st_size, digest, NULL, EVP_sha256(), NULL);
    munmap(bytes, (size_t)st.st_size);
    hex_encode(digest, 32, hex);
    snprintf(path, sizeof(path), "layout/blobs/sha256/%s", hex);
    copy_to(fd, path);
    snprintf(out, 256, "{\"mediaType\":\"application/vnd.%s\",\"digest\":\"sha256:%s\",\"size\":%lld}", type, hex,
             (long long)st.st_size);
    return out;
}

/* A layout of two layers: the second hides a file of the first. */
static void make_layout(void)
{
    const struct member lower[] = { { 'f', "etc/lower", "1" }, { 'f', "etc/hidden", "2" } };
    const struct member upper[] = { { 'f', "etc/.wh.hidden", NULL }, { 'f', "etc/upper", "3" } };
    char a[256], b[256], config[256], manifest[256], text[1200];
    static const char *const dirs[] = { "layout", "layout/blobs", "layout/blobs/sha256" };
    for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
        assert_int_equal(mkdirat(scratch_fd, dirs[i], 0755), 0);
    add_blob(make_archive(lower, 2, ARCHIVE_FILTER_GZIP), "oci.image.layer.v1.tar+gzip", a);
    add_blob(make_archive(upper, 2, ARCHIVE_FILTER_ZSTD), "oci.image.layer.v1.tar+zstd", b);
    snprintf(text, sizeof(text),
             "{\"os\":\"linux\",\"architecture\":\"%s\",\"config\":{\"Env\":[\"A=1\"],\"Cmd\":[\"sh\"],"
             "\"WorkingDir\":\"/app\"}}",
             image_host_architecture());
    add_blob(make_file(text, strlen(text)), "oci.image.config.v1+json", config);
    snprintf(text, sizeof(text), "{\"schemaVersion\":2,\"config\":%s,\"layers\":[%s,%s]}", config, a, b);
    add_blob(make_file(text, strlen(text)), "oci.image.manifest.v1+json", manifest);
    snprintf(text, sizeof(text), "{\"schemaVersion\":2,\"manifests\":[%s]}", manifest);
    copy_to(make_file(text, strlen(text)), "layout/index.json");
    copy_to(make_file("{\"imageLayoutVersion\":\"1.0.0\"}", 30), "layout/oci-layout");
}

static int import_layout(struct image *ret)
{
    char path[64];
    snprintf(path, sizeof(path), "%s/layout", scratch);
    return image_import(images, "oci", path, NULL, ret, NULL, &last_error);
}

/* In a child with a mount namespace of its own: whether each path of the image is there ('+') or not ('-'). */
static int check_mounted(const char *digest, const char *const *expected)
{
    char file[160], target[64];
    snprintf(file, sizeof(file), "%s/%s/rootfs.erofs", images, digest);
    snprintf(target, sizeof(target), "%s/mounted", scratch);
    if (mkdir(target, 0755) < 0 || unshare(CLONE_NEWNS) < 0 ||
        (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 && errno != EINVAL /* in a chroot */) ||
        mount(file, target, "erofs", MS_RDONLY, NULL) < 0)
        return errno == ENOTBLK ? 77 : 1;
    for (; *expected; expected++) {
        char path[128];
        snprintf(path, sizeof(path), "%s/%s", target, *expected + 1);
        if ((access(path, F_OK) == 0) != ((*expected)[0] == '+'))
            return 2;
    }
    return 0;
}

static void an_oci_layout_becomes_one_root_file_system(void **state)
{
    ROOT_ONLY();
    static const char *const expected[] = { "+etc/lower", "-etc/hidden", "+etc/upper", "-etc/.wh.hidden", NULL };
    struct image made;
    struct image_config config;
    struct arena arena;
    make_layout();
    assert_int_equal(import_layout(&made), 0);
    arena_init(&arena, 4 << 20);
    assert_int_equal(image_config_load(images, made.digest, &arena, &config, NULL), 0);
    assert_string_equal(config.workdir, "/app");
    assert_string_equal(config.cmd[0].p, "sh");
    assert_string_equal(config.env[0].name.p, "A");
    arena_free(&arena);
    pid_t pid = fork();
    if (pid == 0)
        _exit(check_mounted(made.digest, expected));
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        skip(); /* a kernel that mounts erofs from block devices only */
    assert_int_equal(status, 0);
}

static void layouts_whose_blobs_are_not_what_they_say_are_refused(void **state)
{
    ROOT_ONLY();
    struct image made;
    char command[256];
    make_layout();
    /* The same size, another content. */
    snprintf(command, sizeof(command),
             "cd %s/layout/blobs/sha256 && for f in *; do printf X | dd of=$f bs=1 conv=notrunc status=none; done",
             scratch);
    assert_int_equal(system(command), 0);
    assert_int_equal(import_layout(&made), -1);
    assert_int_equal(last_error.code, BERM_E_IMAGE_INVALID);
    assert_int_equal(count_entries(images), 0);
}

static void layouts_with_links_for_blobs_are_refused(void **state)
{
    ROOT_ONLY();
    struct image made;
    char command[256];
    make_layout();
    snprintf(command, sizeof(command), "cd %s/layout/blobs && mv sha256 real && ln -s real sha256", scratch);
    assert_int_equal(system(command), 0);
    assert_int_equal(import_layout(&made), -1);
    assert_int_equal(last_error.code, BERM_E_IMAGE_INVALID);
}

#define STORE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE(an_imported_image_is_found_by_name_and_digest),
        STORE(an_image_is_readable_by_all_and_writable_by_nobody),
        STORE(the_same_content_is_the_same_image),
        STORE(rebuilding_moves_the_name_and_removes_what_nobody_uses),
        STORE(an_image_in_use_is_not_removed),
        STORE(removing_a_digest_removes_its_names),
        STORE(a_killed_import_leaves_nothing_for_long),
        STORE(an_interrupted_import_cleans_up_and_then_dies_of_the_signal),
        STORE(a_damaged_store_is_an_error_and_not_a_wrong_image),
        STORE(a_store_that_is_not_there_is_empty),
        STORE(bad_sources_and_names_are_told_apart),
        STORE(an_oci_layout_becomes_one_root_file_system),
        STORE(layouts_whose_blobs_are_not_what_they_say_are_refused),
        STORE(layouts_with_links_for_blobs_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
