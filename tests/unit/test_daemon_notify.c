/* What the service manager is told, at a socket as it makes one. */
#include "daemon/notify.h"

#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct fixture {
    char top[40], path[60];
    int manager;
};

static int setup(void **state)
{
    static struct fixture f;
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    f = (struct fixture){ .top = "/tmp/berm-notify-XXXXXX" };
    assert_non_null(mkdtemp(f.top));
    snprintf(f.path, sizeof(f.path), "%s/notify", f.top);
    memcpy(address.sun_path, f.path, sizeof(f.path));
    f.manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(f.manager, (struct sockaddr *)&address, sizeof(address)), 0);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    close(f->manager);
    unlink(f->path);
    return rmdir(f->top);
}

static struct str received(int manager)
{
    static char text[64];
    ssize_t n = recv(manager, text, sizeof(text), MSG_DONTWAIT);

    return (struct str){ text, n < 0 ? 0 : (size_t)n };
}

static void the_manager_is_told(void **state)
{
    struct fixture *f = *state;

    setenv("NOTIFY_SOCKET", f->path, 1);
    int fd = notify_open();
    assert_true(fd >= 0);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    assert_str(received(f->manager), str_from(""));
    notify_tell(fd, NOTIFY_READY);
    assert_str(received(f->manager), str_from("READY=1"));
    notify_stopping(fd, 60000);
    assert_str(received(f->manager), str_from("STOPPING=1\nEXTEND_TIMEOUT_USEC=80000000"));
    close(fd);
}

static void programs_that_are_started_do_not_know_of_it(void **state)
{
    struct fixture *f = *state;

    setenv("NOTIFY_SOCKET", f->path, 1);
    close(notify_open());
    assert_null(getenv("NOTIFY_SOCKET"));
    assert_int_equal(notify_open(), -EBADF);
    notify_tell(-EBADF, NOTIFY_READY);
    assert_str(received(f->manager), str_from(""));
}

static void a_name_without_a_file_is_found(void **state)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    socklen_t size = sizeof(address);
    char name[sizeof(address.sun_path) + 1] = "@";
    int manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    (void)state;
    /* The kernel chooses one. */
    assert_int_equal(bind(manager, (struct sockaddr *)&address, sizeof(address.sun_family)), 0);
    assert_int_equal(getsockname(manager, (struct sockaddr *)&address, &size), 0);
    memcpy(name + 1, address.sun_path + 1, size - offsetof(struct sockaddr_un, sun_path) - 1);
    setenv("NOTIFY_SOCKET", name, 1);
    int fd = notify_open();
    assert_true(fd >= 0);
    notify_tell(fd, NOTIFY_READY);
    assert_str(received(manager), str_from("READY=1"));
    close(fd);
    close(manager);
}

static void what_is_no_address_is_nobody(void **state)
{
    char longest[sizeof(((struct sockaddr_un *)NULL)->sun_path) + 1];
    const char *const names[] = { "", "/", "@", "relative", "vsock:2:1", "/nowhere/notify", longest };

    (void)state;
    memset(longest, 'a', sizeof(longest) - 1);
    longest[0] = '/';
    longest[sizeof(longest) - 1] = '\0';
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        setenv("NOTIFY_SOCKET", names[i], 1);
        assert_int_equal(notify_open(), -EBADF);
    }
}

static void a_manager_that_does_not_read_holds_nobody_up(void **state)
{
    struct fixture *f = *state;

    setenv("NOTIFY_SOCKET", f->path, 1);
    int fd = notify_open();
    /* More than any queue of datagrams holds: a call that waited would never return. */
    for (int i = 0; i < 100000; i++)
        if (send(fd, "x", 1, MSG_DONTWAIT) < 0)
            break;
    notify_tell(fd, NOTIFY_READY);
    assert_str(received(f->manager), str_from("x"));
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_manager_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(programs_that_are_started_do_not_know_of_it, setup, teardown),
        cmocka_unit_test(a_name_without_a_file_is_found),
        cmocka_unit_test(what_is_no_address_is_nobody),
        cmocka_unit_test_setup_teardown(a_manager_that_does_not_read_holds_nobody_up, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
