/* What is left to a daemon that has been taken over: its own directories. */
#include "unit.h"

#include "daemon/confine.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define NO_LANDLOCK     77
#define ABI_WITH_NET    4
#define ABI_WITH_SCOPES 6

struct fixture {
    char top[32];
    char data[64], images[64], keys_dir[64], keys[80];
    struct config config;
};

static void make(const char *name, const char *top, char *out, size_t size)
{
    snprintf(out, size, "%s/%s", top, name);
    assert_int_equal(mkdir(out, 0755), 0);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    char path[80];

    snprintf(f->top, sizeof(f->top), "/tmp/berm-confine-XXXXXX");
    assert_non_null(mkdtemp(f->top));
    make("data", f->top, f->data, sizeof(f->data));
    make("images", f->top, f->images, sizeof(f->images));
    make("keys", f->top, f->keys_dir, sizeof(f->keys_dir));
    snprintf(f->keys, sizeof(f->keys), "%s/keys", f->keys_dir);
    snprintf(path, sizeof(path), "%s/state", f->data);
    assert_int_equal(mkdir(path, 0755), 0);
    close(open(f->keys, O_CREAT | O_WRONLY, 0644));
    f->config.data = f->data;
    f->config.images = f->images;
    f->config.keys_file = f->keys;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char path[80];

    snprintf(path, sizeof(path), "%s/state/new", f->data);
    unlink(path);
    snprintf(path, sizeof(path), "%s/state", f->data);
    rmdir(path);
    unlink(f->keys);
    rmdir(f->keys_dir);
    rmdir(f->images);
    rmdir(f->data);
    assert_int_equal(rmdir(f->top), 0);
    free(f);
    return 0;
}

static bool opens(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC, 0600);

    if (fd < 0)
        return false;
    close(fd);
    return true;
}

static bool may_bind(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool may = bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;

    close(fd);
    return may;
}

/* In a child: the number of the first thing that is not as it should be. */
static int look_around(const struct fixture *f)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    char path[80];
    int ruleset = confine_prepare(&f->config, NULL);

    if (ruleset == -2)
        return NO_LANDLOCK;
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (ruleset < 0 || confine_enter(ruleset, NULL) < 0)
        return 1;
    if (opens("/etc/passwd", O_RDONLY) || opens("/proc/1/status", O_RDONLY) || opens("/", O_RDONLY))
        return 2;
    if (opens(f->top, O_RDONLY) || opens(f->data, O_RDONLY))
        return 3;
    snprintf(path, sizeof(path), "%s/state/new", f->data);
    if (!opens(path, O_RDWR | O_CREAT) || truncate(path, 0) < 0)
        return 4;
    if (!opens(f->images, O_RDONLY | O_DIRECTORY) || !opens(f->keys, O_RDONLY))
        return 5;
    if (opens(f->keys, O_WRONLY) || mkdir("/tmp/berm-confine-escape", 0700) == 0)
        return 6;
    if (abi >= ABI_WITH_SCOPES && kill(getppid(), 0) == 0)
        return 7;
    return abi >= ABI_WITH_NET && may_bind() ? 8 : 0;
}

static void only_its_own_directories_are_left(void **state)
{
    int status;
    pid_t pid = fork();

    if (pid == 0)
        _exit(look_around(*state));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == NO_LANDLOCK)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void a_directory_that_is_not_there_is_an_error(void **state)
{
    struct fixture *f = *state;
    struct config config = f->config;
    char missing[] = "/nonexistent/images";
    struct berm_error err;
    int rc;

    config.images = missing;
    rc = confine_prepare(&config, &err);
    if (rc == -2)
        skip();
    assert_int_equal(rc, -1);
    assert_non_null(strstr(err.message, missing));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(only_its_own_directories_are_left, setup, teardown),
        cmocka_unit_test_setup_teardown(a_directory_that_is_not_there_is_an_error, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
